"""Take the README's pictures of the worked example's report, in a headless Chromium.

    make gallery-demo && PYTHONPATH=tests/helpers python tests/helpers/readme_pictures.py

Take them again when the page looks different. Each is 1440 x 900 pixels, in 256 colours, so that it stays small.
"""

import base64
import io
import tempfile
import time
from pathlib import Path

from browser import Browser
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "results/gallery/report/report.html"
OUT = ROOT / "resources/readme"
PLACES = {"report.png": "window.scrollTo(0, 0)", "gallery.png": "document.querySelector('#gallery').scrollIntoView()"}
"""Name of the picture -> script that brings the page there."""


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(Path(profile))
        browser.send("Emulation.setDeviceMetricsOverride", width=1440, height=900, deviceScaleFactor=1, mobile=False)
        browser.send("Emulation.setScrollbarsHidden", hidden=True)
        browser.open(PAGE)
        for name, script in PLACES.items():
            browser.run(script)
            time.sleep(2)  # pictures load when they come into view
            taken = base64.b64decode(browser.send("Page.captureScreenshot", format="png")["data"])
            image = Image.open(io.BytesIO(taken)).convert("RGB")
            image.quantize(256, dither=Image.Dither.NONE).save(OUT / name, optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
