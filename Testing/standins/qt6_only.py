"""Names of PySide6 6.8 that Slicer's Qt 5.15 lacks, of those that a panel could come to use."""

from __future__ import annotations

_POINTS = (
    "points point pointCount pointById pointingDevice allPointsAccepted isBeginEvent isUpdateEvent isEndEvent"
)
_MEMBERS = {
    "QAbstractItemModel": "clearItemData multiData",
    "QAbstractItemView": "initViewItemOption itemDelegateForIndex",
    "QAbstractProxyModel": "clearItemData createSourceIndex",
    "QAction": "associatedObjects checkableChanged enabledChanged resetEnabled visibleChanged",
    "QByteArray": "assign first last sliced slice removeAt removeFirst removeLast isValidUtf8 percentDecoded",
    "QCheckBox": "checkStateChanged",
    "QColor": "fromString isValidColorName toTuple",
    "QDate": "toPython",
    "QDateTime": "toPython",
    "QDropEvent": "buttons modifiers position",
    "QEvent": "clone isInputEvent isPointerEvent isSinglePointEvent",
    "QFileInfo": "isAlias junctionTarget readSymLink",
    "QFormLayout": "isRowVisible setRowVisible",
    "QGuiApplication": "nativeInterface setBadgeNumber",
    "QHeaderView": "isSortIndicatorClearable setSortIndicatorClearable sortIndicatorClearableChanged",
    "QImage": "colorTransformed convertedTo deviceIndependentSize",
    "QInputEvent": "device deviceType setModifiers",
    "QKeyEvent": "keyCombination",
    "QKeySequenceEdit": "isClearButtonEnabled maximumSequenceLength setClearButtonEnabled "
    "setMaximumSequenceLength finishingKeyCombinations setFinishingKeyCombinations",
    "QLine": "toTuple toLineF",
    "QLineF": "toTuple",
    "QMenu": "menuInAction",
    "QMessageBox": "options setOption setOptions testOption",
    "QModelIndex": "constInternalPointer multiData",
    "QPalette": "accent",
    "QPixmap": "deviceIndependentSize",
    "QPoint": "toTuple toPointF",
    "QPointF": "toTuple",
    "QPointerEvent": _POINTS,
    "QProcess": "failChildProcessModifier setUnixProcessParameters splitCommand startCommand "
    "unixProcessParameters",
    "QRect": "span toRectF",
    "QRegularExpression": "fromWildcard globalMatchView matchView",
    "QRegularExpressionMatch": "capturedView hasCaptured",
    "QShortcut": "keys setKeys",
    "QSignalBlocker": "dismiss",
    "QSinglePointEvent": "position scenePosition globalPosition exclusivePointGrabber",
    "QSize": "toTuple toSizeF",
    "QSizeF": "toTuple",
    "QSortFilterProxyModel": "autoAcceptChildRows autoAcceptChildRowsChanged invalidateColumnsFilter "
    "invalidateRowsFilter setAutoAcceptChildRows",
    "QStandardItem": "multiData",
    "QStyle": "name",
    "QStyleHints": "colorScheme colorSchemeChanged setColorScheme contextMenuTrigger",
    "QTextCursor": "insertMarkdown",
    "QTextStream": "encoding setEncoding",
    "QThread": "isCurrentThread isMainThread",
    "QTime": "toPython",
    "QTimer": "id",
    "QWidget": "setScreen",
}
_CLASSES = {
    "QEventPoint",
    "QInputDevice",
    "QKeyCombination",
    "QPermission",
    "QPointerEvent",
    "QPointingDevice",
    "QSinglePointEvent",
    "QStringConverter",
    "QStringDecoder",
    "QStringEncoder",
}


def refuses_class(name: str) -> bool:
    """Whether a class is in Qt 6 alone."""
    return name in _CLASSES


def refuses(cpp_class: type, name: str) -> bool:
    """Whether a class of Slicer's Qt lacks a name that Qt 6 has."""
    return any(name in _MEMBERS.get(base.__name__, "").split() for base in cpp_class.__mro__)
