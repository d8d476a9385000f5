// What scrolls sideways in a box of its own can be reached and moved by the keyboard, and only that; every part of the
// page that is not text of the chapter stands in a named region.
document.addEventListener("DOMContentLoaded", () => {
  const boxes = "pre, .pst-scrollable-table-container, .cell_output > .output, .math, .math mjx-container";
  const reach = () => {
    for (const box of document.querySelectorAll(boxes)) {
      const scrolls = box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(box).overflowX);
      if (scrolls) box.tabIndex = 0;
      else if (box.matches("pre, div, span")) box.removeAttribute("tabindex"); // a formula keeps what MathJax gave it
    }
  };
  let waiting = 0;
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(reach, 400); // after the theme's own, which is too early for formulas and letters
  };
  const sidebar = document.getElementById("pst-primary-sidebar");
  sidebar?.setAttribute("role", "complementary");
  sidebar?.setAttribute("aria-label", "Chapters");
  window.addEventListener("resize", soon);
  document.addEventListener("toggle", soon, true);
  document.fonts.ready.then(soon);
  window.addEventListener("load", () => window.MathJax?.startup?.promise.then(soon));
  soon();
});
