"""Pictures, made where a test needs one."""

import base64
import io

from PIL import Image


def encoded(colour: str = "red", size: tuple[int, int] = (4, 3), kind: str = "PNG") -> str:
    """A picture in base64."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()
