"""The commands of ``lesion-segmenter``, one file each: ``add_parser(commands)`` and what it runs."""
