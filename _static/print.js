// Before a page is printed all that is folded opens, the page is light, and what cannot wrap learns how wide it is by
// itself, in its own ems; print.css divides the column by that. Afterwards the page is as it was.
(() => {
    const root = document.documentElement;
    let opened = [];
    let theme;

    const fontSize = (element) => parseFloat(getComputedStyle(element).fontSize);

    const measure = () => {
        for (const formula of document.querySelectorAll("mjx-container > mjx-math")) {
            const box = formula.parentElement;
            box.style.setProperty("--size", box.style.fontSize || "100%");
            box.style.setProperty("--wide", formula.getBoundingClientRect().width / fontSize(box));
        }
        for (const table of document.querySelectorAll("article table")) {
            table.classList.add("measured");
            table.style.width = "min-content";
            table.style.setProperty("--wide", table.getBoundingClientRect().width / fontSize(table));
            table.style.width = "";
        }
    };

    addEventListener("beforeprint", () => {
        opened = [...document.querySelectorAll("details:not([open])")];
        opened.forEach((details) => (details.open = true));
        theme ??= root.dataset.theme;
        root.dataset.theme = "light";
        measure();
    });

    addEventListener("afterprint", () => {
        opened.forEach((details) => (details.open = false));
        document.querySelectorAll(".measured").forEach((table) => table.classList.remove("measured"));
        if (theme) root.dataset.theme = theme;
        theme = undefined;
    });
})();
