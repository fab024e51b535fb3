"""The output table in the formats that other tools read, written image by image.

    OutputTable -> annotated_images.read_annotated_images -> AnnotatedImage ... -> coco.write, yolo.write, ... -> path
                     |-> frames.py: pixels of the upright image, or of the stored one

    catalogue.py: the formats by name     convert_table.py: the use case
    writing/: names that no two images share, many small files, XML

A new format is one module and one line in `catalogue.FORMATS`: docs/add-an-output-format.md. Nothing here opens an
image. Read `convert_table.py` first.
"""
