"""A bare page that shows one widget as a notebook would: its module, its state, a model that keeps what is saved."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anywidget
from playwright.sync_api import Browser, Locator, Page

# Stands for the model that anywidget gives to a module's `render`; what is saved is kept in window.saved.
SHOW = """async ({ code, css, state, bytes }) => {
    const style = document.createElement("style");
    style.textContent = css;
    document.head.append(style);
    window.lab = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    for (const [name, text] of Object.entries(bytes))
        state[name] = new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
    const listeners = [], changed = new Set();
    window.saved = [];
    window.model = {
        get: (name) => state[name],
        set: (name, value) => {
            state[name] = value;
            changed.add(name);
            for (const [names, act] of listeners) if (names.split(" ").includes(`change:${name}`)) act();
        },
        save_changes: () => {
            window.saved.push(Object.fromEntries([...changed].map((name) => [name, structuredClone(state[name])])));
            changed.clear();
        },
        on: (names, act) => listeners.push([names, act]),
        off: (names, act) => listeners.splice(listeners.findIndex((one) => one[0] === names && one[1] === act), 1),
    };
    const el = document.createElement("div");
    document.body.append(el);
    window.leave = lab.default.render({ model, el });
}"""


@contextmanager
def quiet_page(browser: Browser) -> Iterator[Page]:
    """A page in which nothing may go wrong while it is open."""
    page, errors = browser.new_page(viewport={"width": 1000, "height": 900}), []
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []


def show_timeline(page: Page, view: anywidget.AnyWidget) -> Locator:
    """Show a TimelineView; gives back what a person points at, once it is drawn."""
    show(page, view)
    page.wait_for_function("document.querySelector('.lab-tl-base').width > 300")
    return page.locator(".lab-tl-area")


def show(page: Page, widget: anywidget.AnyWidget) -> None:
    """Show the widget in this page, which is emptied before."""
    page.set_content("<!doctype html><body style='margin: 20px'></body>")
    state: dict[str, Any] = {name: getattr(widget, name) for name in widget.keys if not name.startswith("_model")}
    sent = {name: value for name, value in state.items() if _is_plain(value)}
    encoded = {name: base64.b64encode(value).decode() for name, value in state.items() if isinstance(value, bytes)}
    page.evaluate(SHOW, {"code": str(widget._esm), "css": str(widget._css), "state": sent, "bytes": encoded})


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | list | tuple | dict)
