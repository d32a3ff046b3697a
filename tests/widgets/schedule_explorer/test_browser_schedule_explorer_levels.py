"""Levels of ScheduleExplorer in a real browser: one solved by keys, one by clicks, illegal moves, save and load."""

from __future__ import annotations

import base64

from browser_page import LIGHTER, Lab, assert_it_fits, output, run_cell, screenshot
from playwright.sync_api import Locator, Page, expect
from widget_page import show

from lab_utils.schedule import LEVELS
from lab_utils.widgets import ScheduleExplorer

pytest_plugins = ["browser_fixtures"]
CELL = """from lab_utils.widgets import ScheduleExplorer

explorer = ScheduleExplorer(level="gpipe")
explorer"""
STANDS = "print(explorer.solved, explorer.level, explorer.position)"
ASKS = ("level", "moves", "_load", "_from_op", "choice", "_asked")  # of what a browser sends
TELLS = ("_drawn", "_boxes", "says", "moves", "level", "solved", "choice", "p", "m", "limit", "stage_layout", "_load",
         "_answered")  # fmt: skip
TELL = """({ state, boxes }) => {
    state._boxes = new DataView(Uint8Array.from(atob(boxes), (c) => c.charCodeAt(0)).buffer);
    for (const [name, value] of Object.entries(state)) window.model.set(name, value);
}"""


class Linked:
    """A widget in a bare page: what the page saves goes to Python, as through a kernel, and the answer comes back."""

    def __init__(self, page: Page, explorer: ScheduleExplorer) -> None:
        self.page, self.explorer = page, explorer
        show(page, explorer)
        page.wait_for_function("document.querySelector('.lab-sx-board').dataset.drawn")
        self.card = page.locator(".lab-sx-card")
        self.board, self.remark = self.card.locator(".lab-sx-board").first, self.card.locator(".lab-sx-remark")
        self.wrong, self.goal = self.card.locator(".lab-sx-wrong").first, self.card.locator(".lab-sx-goal")

    def answer(self) -> None:
        for changes in self.page.evaluate("window.saved.splice(0).map(({ _boxes, ...rest }) => rest)"):
            self.explorer.set_state({name: value for name, value in changes.items() if name in ASKS})
        state = {name: getattr(self.explorer, name) for name in TELLS if name != "_boxes"}
        boxes = base64.b64encode(self.explorer._boxes).decode()
        self.page.evaluate(TELL, {"state": state, "boxes": boxes})
        expect(self.remark).to_have_text(self.explorer._drawn["remark"])

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.answer()

    def settle(self) -> None:
        """Answer until nothing more is asked for."""
        while self.page.evaluate("window.saved.length"):
            self.answer()

    def click(self, name: str) -> None:
        self.card.get_by_role("button", name=name, exact=True).click()
        self.answer()


def test_a_level_is_solved_by_keys_and_the_next_one_is_offered(page: Page) -> None:
    lab = Linked(page, ScheduleExplorer(level="memory"))
    expect(lab.goal).to_contain_text("Level 2 of 8, a memory limit. Hold at most 2 of 4 micro-batches per rank")
    assert lab.goal.get_attribute("role") == "status" and "Level 2 of 8" in lab.board.get_attribute("aria-label")
    lab.board.focus()
    lab.press("f", "f")
    lab.press("f")
    expect(lab.wrong).to_have_text(
        "F2 of stage 0 would make 3 micro-batches whose activations rank 0 holds, and 2 is the limit"
    )
    lab.press("b")
    expect(lab.wrong).to_contain_text("in this level a backward is one op, BW")
    lab.press("Backspace", "Backspace")
    expect(lab.wrong).to_be_empty()
    solve(lab, "memory")
    expect(lab.remark).to_have_text(
        "All ops are placed: 21. No named schedule has this order. Level 2 is done. Par is 21, and no order is "
        "shorter. Next is level 3, 1F1B."
    )
    expect(lab.card.get_by_label("level", exact=True).locator("option:checked")).to_have_text("✓ 2 a memory limit")
    screenshot(lab.card, "schedule_explorer_level")
    lab.click("Next: 3 1F1B")
    expect(lab.goal).to_contain_text("Level 3 of 8, 1F1B.")
    expect(lab.card.get_by_label("level", exact=True)).to_be_focused()  # the button that was pressed is gone
    for name in ("p, ranks", "m, micro-batches", "F, forward", "communication", "memory limit per rank"):
        expect(lab.card.get_by_role("slider", name=name)).to_be_disabled()
    expect(lab.card.get_by_label("stages", exact=True)).to_be_disabled()


def test_keys_that_are_faster_than_the_kernel_are_placed_in_order(page: Page) -> None:
    """What each key means is decided when its turn comes, on the rank that was chosen when it was pressed."""
    lab = Linked(page, ScheduleExplorer(choice="hand", p=2, m=4))
    lab.board.focus()
    for key in ("f", "f", "f", "Backspace", "ArrowDown", "f", "x", "ArrowUp", "f", "x"):
        page.keyboard.press(key)
    assert [changes["moves"] for changes in page.evaluate("window.saved")] == [[[0, "F0"]]]  # the others wait
    lab.settle()
    expect(lab.wrong).to_be_empty()
    assert lab.explorer.moves == [[0, "F0"], [0, "F1"], [1, "F0"], [1, "BW0"], [0, "F2"], [0, "BW0"]]
    page.keyboard.press("x"), page.keyboard.press("f")  # the first is refused: the next is placed all the same
    lab.settle()
    assert lab.explorer.moves[-1] == [0, "F3"]


def solve(lab: Linked, name: str) -> None:
    """Place the solution by keys, rank by rank in turns; the first micro-batch that a key may place is the next."""
    left = [[*order.split()] for order in LEVELS[name].solution.orders]
    keys = {"F": "f", "BW": "x", "B": "b", "W": "w"}
    rank = 0
    while any(left):
        for at, order in enumerate(left):
            ready = {offer[1] for offer in lab.explorer._drawn["offers"] if offer[0] == at and not offer[2]}
            if order and order[0] in ready:
                lab.press(*["ArrowDown"] * (at - rank), *["ArrowUp"] * (rank - at))
                rank = at
                lab.press(keys[order.pop(0).rstrip("0123456789")])


def test_a_level_is_solved_by_clicks_and_the_schedule_is_recognised(page: Page) -> None:
    lab = Linked(page, ScheduleExplorer())
    assert not lab.goal.is_visible()
    lab.card.get_by_label("level", exact=True).select_option("two_parts")
    lab.answer()
    expect(lab.goal).to_contain_text("B, for the input, and W, for the weights, are two ops now: end by 10")
    left = [[*order.split()] for order in LEVELS["two_parts"].solution.orders]
    while any(left):
        for rank, order in enumerate(left):
            lab.board.click(position={"x": 30, "y": 6 + 30 * (rank + 0.5)})
            offers = lab.card.locator(".lab-sx-offers button:not([aria-disabled])")
            while order and order[0] in offers.all_text_contents():
                lab.click(order.pop(0))
    expect(lab.remark).to_contain_text("You have built ZB-H1. Level 5 is done. Par is 10, and no order is shorter.")
    lab.card.get_by_label("level", exact=True).select_option("")
    lab.answer()
    expect(lab.goal).to_be_hidden()
    expect(lab.card.get_by_role("slider", name="p, ranks")).to_be_enabled()


def test_a_position_is_saved_and_loaded_as_text(page: Page) -> None:
    lab = Linked(page, ScheduleExplorer(level="memory"))
    lab.board.focus()
    lab.press("f", "ArrowDown", "f")
    text = lab.card.get_by_label("The position, a line per rank")
    expect(text).to_be_hidden()
    lab.card.get_by_text("Save or load as text").click()
    expect(text).to_have_value("level memory\nrank 0: F0\nrank 1: F0\nrank 2:")
    text.fill("level memory\nrank 0: F0 F1 F2\nrank 1:\nrank 2:")
    lab.click("Load")
    expect(lab.wrong).to_contain_text("line 2, word 5, 'F2': F2 of stage 0 would make 3 micro-batches")
    expect(text).to_have_value("level memory\nrank 0: F0 F1 F2\nrank 1:\nrank 2:")  # to be mended
    solved = "\n".join(f"rank {rank}: {order}" for rank, order in enumerate(LEVELS["gpipe"].solution.orders))
    text.fill(f"level gpipe\n{solved}")
    lab.click("Load")
    expect(lab.wrong).to_be_empty()
    expect(lab.remark).to_contain_text("You have built GPipe. Level 1 is done.")
    expect(lab.card.get_by_role("button", name="Next: 2 a memory limit")).to_be_visible()
    assert lab.explorer.solved == ["gpipe"]


def test_in_jupyterlab_in_the_dark(lab: Lab) -> None:
    with lab.notebook("levels.ipynb", CELL, STANDS, dark=True) as page:
        run_cell(page, 0)
        card = page.locator(".lab-sx-card")
        expect(card.locator(".lab-sx-goal")).to_contain_text("Level 1 of 8, GPipe. Take 4 micro-batches")
        solve_gpipe(page, card)
        screenshot(page, "schedule_explorer_level_dark")
        assert card.evaluate(LIGHTER) > 100
        assert_it_fits(card)
        card.get_by_role("button", name="Next: 2 a memory limit").click()
        expect(card.locator(".lab-sx-goal")).to_contain_text("Level 2 of 8")
        card.get_by_text("Save or load as text").click()
        card.locator("textarea:visible").fill("level memory\nrank 0: F0 F1\nrank 1: F0\nrank 2: F0 BW0")
        card.get_by_role("button", name="Load", exact=True).click()
        expect(card.locator(".lab-sx-remark")).to_contain_text("19 of F and BW are left to place.")
        run_cell(page, 1)
        expect(output(page, 1)).to_have_text(
            "['gpipe'] memory level memory\nrank 0: F0 F1\nrank 1: F0\nrank 2: F0 BW0", use_inner_text=True
        )


def solve_gpipe(page: Page, card: Locator) -> None:
    """All forwards from the first rank to the last, all backwards back: no key waits for the answer to the last."""
    card.locator(".lab-sx-board").first.focus()
    for key in ["f", "ArrowDown", "f", "ArrowDown", "f", "x", "ArrowUp", "x", "ArrowUp", "x"]:
        for _ in range(4 if len(key) == 1 else 1):
            page.keyboard.press(key)
    expect(card.locator(".lab-sx-remark")).to_contain_text("You have built GPipe.")
