"""Let a person rate edits in the browser without seeing which editor made them.

    python scripts/collect_ratings.py --run-dir results/demo --rater anna --out ratings.csv --items 60

Serves a page on this machine and prints its address; Ctrl-C ends it. Each key 0..9 is saved at once as a row
item,system,rater,score with the SHA-256 of source, edit and instruction. Run the same command again to continue.
compare_ratings.py reads the file. To rate from another machine, use ssh -L 8000:127.0.0.1:8000 and --port 8000. Keep
--items and --seed the same for all raters, because they choose the items.
"""

import logging
import unicodedata
from collections.abc import Sequence

from editlane.cli.flags import NAMES, StepParser, input_folder, output_file, whole_number
from editlane.cli.step import run_step
from editlane.core.errors import UserError
from editlane.core.text_width import pluralize
from editlane.ratings.page.saved import SavedRatings
from editlane.ratings.page.server import RatingServer
from editlane.ratings.page.tasks import Task, choose_items, drop_unreadable, read_tasks, shuffle
from editlane.ratings.tables import list_first

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/<run>")
    parser.add_argument("--rater", required=True, help="the rater's name; it determines the order")
    parser.add_argument("--out", type=output_file, required=True, help="a CSV file; it may also hold other raters")
    parser.add_argument("--items", type=whole_number(1), help="number of items; default: all")
    parser.add_argument("--editors", **NAMES, default=[], help="default: all")
    parser.add_argument("--port", type=whole_number(0, 65535), default=0, help="default: any free port")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="seed of the choice and the order of items")
    args = parser.parse_args()

    rater = unicodedata.normalize("NFC", args.rater).strip()
    if not rater:
        raise UserError("--rater is empty. Give a name.")
    saved = SavedRatings(args.out, rater)
    tasks = choose_items(read_tasks(args.run_dir, args.editors), args.items, args.seed)
    tasks = drop_unreadable(shuffle(tasks, rater, args.seed))
    if not tasks:
        raise UserError(f"{args.run_dir} has no edit whose image can be read.")
    try:
        server = RatingServer(tasks, saved, args.port)
    except OSError as error:
        raise UserError(f"Cannot serve on port {args.port}: {error}. Omit --port to use a free one.") from error
    _log_progress(tasks, saved)
    print(f"Open {server.url}", flush=True)
    with server:
        server.serve_forever()


def _log_progress(tasks: Sequence[Task], saved: SavedRatings) -> None:
    done = sum(score is not None for score in saved.find_scores(tasks))
    items = len({task.item_id for task in tasks})
    log.info("%s of %s, %d of them rated", pluralize(len(tasks), "edit"), pluralize(items, "item"), done)
    if unmarked := saved.count_unmarked():
        log.warning(
            "%s in %s may be of earlier edits: the file does not tell", pluralize(unmarked, "rating"), saved.path
        )
    if outdated := saved.find_outdated(tasks):
        what = f"{pluralize(len(outdated), 'rating')} of earlier edits, sources or instructions"
        names = list_first([f"{row.item} by {row.system}" for row in outdated])
        log.warning("%s in %s stay there and do not count here: %s", what, saved.path, names)


if __name__ == "__main__":
    run_step(main)
