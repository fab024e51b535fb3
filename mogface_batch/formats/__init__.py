"""The output table in the formats that other tools read, streamed: a file a format.

    OutputTable -> rows.annotated_images -> AnnotatedImage ... -> coco.write, yolo.write, ... -> a file or a folder
                     |-> frames.py: upright pixels, or those before the EXIF orientation
                     |-> names.py: names and numbers that no two images share

`convert.FORMATS` lists them. A new one is a module with `write(images, target)` and a line there. Nothing here opens
an image. Read `convert.py` first.
"""
