"""Draw the edits of the worked example, without a model: three made-up editors of different skill.

    python scripts/draw_gallery_demo.py --items resources/demo/gallery.jsonl --photos resources/demo/photos \\
        --out resources/demo/gallery

Writes OUT/<editor>/<item_id>.png, and what each instruction asks for to OUT/asked/, where the fake judge looks. The
same list and photos give the same bytes.
"""

from collections import defaultdict
from pathlib import Path

from editlane.cli.flags import StepParser, input_folder, output_folder
from editlane.cli.step import run_step
from editlane.core.shared_folders import put_files
from editlane.datasets.gallery_demo import ASKED, draw_record, get_instruction, read_gallery_list
from editlane.models.fake_signals import name_reference


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--items", type=Path, required=True, help="the list of items, and of what is drawn for each")
    parser.add_argument("--photos", type=input_folder, required=True, help="the photos of extract_demo_photos.py")
    parser.add_argument("--out", type=output_folder, required=True, help="folder for the pictures")
    args = parser.parse_args()

    folders: dict[str, dict[str, bytes]] = defaultdict(dict)
    for record in read_gallery_list(args.items):
        for editor, content in draw_record(record, args.photos):
            name = name_reference(get_instruction(record)) if editor == ASKED else f"{record['item_id']}.png"
            folders[editor][name] = content
    for editor, files in folders.items():
        put_files(args.out / editor, files)


if __name__ == "__main__":
    run_step(main)
