/* A formula that is wider than the page scrolls; the keyboard must reach it, too. */
function reachWideFormulas() {
  for (const formula of document.querySelectorAll('mjx-container[display="true"]')) {
    if (formula.scrollWidth > formula.clientWidth) {
      formula.tabIndex = 0;
    } else {
      formula.removeAttribute("tabindex");
    }
  }
}

window.addEventListener("load", () => {
  if (window.MathJax && MathJax.startup) {
    MathJax.startup.promise.then(reachWideFormulas);
    window.addEventListener("resize", reachWideFormulas);
  }
});
