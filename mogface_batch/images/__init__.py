"""Images: encoded bytes -> upright RGB pixels -> a canvas for a detector; faces -> a picture -> encoded bytes.

    bytes -> image_header.read_header -> image_header.check_pixels -> decode.decode_rgb -> canvas.place_on_canvas
    pixels and faces -> draw.draw_faces -> encode.encode -> bytes

The only home of OpenCV, Pillow and simplejpeg. It knows nothing of files, URIs, models or rows. Read `image_header.py`
first, then `decode.py`. Nothing is imported here, so that importing this package starts nothing heavy.
"""
