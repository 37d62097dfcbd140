"""Let a person rate edits, or compare two, in the browser without seeing which editor made them.

    python scripts/collect_ratings.py --run-dir results/demo --rater anna --out ratings.csv --items 60
    python scripts/collect_ratings.py --run-dir results/demo --rater anna --out votes.csv --items 60 --pairs

Serves a page on this machine and prints its address; Ctrl-C ends it. Each key 0..9 is saved at once as a row
item,system,rater,score with the SHA-256 of source, edit and instruction. Run the same command again to continue.
compare_ratings.py reads the file. With --pairs, two edits of an item stand side by side, and each key A, B, T (both
good) or X (both bad) is a row item,system_a,system_b,rater,vote, which compare_votes.py and the report read
(`votes:`). To rate from another machine, use ssh -L 8000:127.0.0.1:8000 and --port 8000. Keep --items and --seed
the same for all raters, because they choose the items.
"""

import logging
import unicodedata
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from editlane.cli.flags import NAMES, StepParser, input_folder, output_file, whole_number
from editlane.cli.step import run_step
from editlane.core.errors import UserError
from editlane.core.text_width import pluralize
from editlane.ratings.page.pairs import PairTask, make_pairs
from editlane.ratings.page.saved import SavedRatings
from editlane.ratings.page.saved_votes import SavedVotes
from editlane.ratings.page.server import LANGUAGES, RatingServer
from editlane.ratings.page.tasks import Task, choose_items, drop_unreadable, read_tasks, shuffle
from editlane.ratings.tables import list_first
from editlane.ratings.votes import VOTES

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
    parser.add_argument("--pairs", action="store_true", help="compare two edits of an item")
    parser.add_argument("--language", choices=LANGUAGES, help="the language of the page; default: the browser's")
    args = parser.parse_args()

    rater = unicodedata.normalize("NFC", args.rater).strip()
    if not rater:
        raise UserError("--rater is empty. Give a name.")
    tasks = choose_items(read_tasks(args.run_dir, args.editors), args.items, args.seed)
    try:
        if args.pairs:
            server = _serve_pairs(tasks, SavedVotes(args.out, rater), args)
        else:
            server = _serve_edits(tasks, SavedRatings(args.out, rater), args)
    except OSError as error:
        raise UserError(f"Cannot serve on port {args.port}: {error}. Omit --port to use a free one.") from error
    print(f"Open {server.url}", flush=True)
    with server:
        server.serve_forever()


def _serve_edits(tasks: Sequence[Task], saved: SavedRatings, args: Namespace) -> RatingServer:
    """Serve the edits one by one."""
    shown = drop_unreadable(shuffle(tasks, saved.rater, args.seed))
    if not shown:
        raise UserError(f"{args.run_dir} has no edit whose image can be read.")
    server = RatingServer(shown, saved, args.port, language=args.language)
    done = sum(score is not None for score in saved.find_scores(shown))
    log.info("%s of %s, %d of them rated", pluralize(len(shown), "edit"), _count_items(shown), done)
    if unmarked := saved.count_unmarked():
        log.warning(
            "%s in %s may be of earlier edits: the file does not tell", pluralize(unmarked, "rating"), saved.path
        )
    if outdated := saved.find_outdated(shown):
        _warn_outdated("rating", saved.path, [f"{row.item} by {row.system}" for row in outdated])
    return server


def _serve_pairs(tasks: Sequence[Task], saved: SavedVotes, args: Namespace) -> RatingServer:
    """Serve the edits two by two."""
    pairs = make_pairs(drop_unreadable(tasks), saved.rater, args.seed)
    if not pairs:
        raise UserError(f"{args.run_dir} has no item with two edits whose images can be read.")
    server = RatingServer(pairs, saved, args.port, answers=VOTES, language=args.language)
    done = sum(vote is not None for vote in saved.find_scores(pairs))
    log.info("%s of %s, %d of them voted on", pluralize(len(pairs), "pair"), _count_items(pairs), done)
    if outdated := saved.find_outdated(pairs):
        _warn_outdated("vote", saved.path, [f"{row.item}, {row.system_a} and {row.system_b}" for row in outdated])
    return server


def _count_items(tasks: Sequence[Task] | Sequence[PairTask]) -> str:
    return pluralize(len({task.item_id for task in tasks}), "item")


def _warn_outdated(what: str, path: Path, names: Sequence[str]) -> None:
    log.warning(
        "%s of earlier edits, sources or instructions in %s stay there and do not count here: %s",
        *(pluralize(len(names), what), path, list_first(names)),
    )


if __name__ == "__main__":
    run_step(main)
