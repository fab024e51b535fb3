"use strict";
// The score slider: marks of fainter faces are hidden, and each picture says how many are left.
(() => {
  const dial = document.getElementById("dial");
  if (!dial) return;
  const slider = document.getElementById("score");
  const shown = document.getElementById("score-now");
  const status = document.getElementById("score-status");
  const figures = [...document.querySelectorAll("[data-faces]")].map((figure) => ({
    total: Number(figure.dataset.faces),
    marks: [...figure.querySelectorAll("rect[data-s]")].map((mark) => [mark, Number(mark.dataset.s)]),
    count: figure.querySelector("[data-count]"),
  }));
  const plural = (count) => (count === 1 ? "1 face" : count + " faces");
  const update = () => {
    const least = Number(slider.value);
    let seen = 0, all = 0;
    for (const { total, marks, count } of figures) {
      let here = 0;
      for (const [mark, score] of marks) {
        const isOn = score >= least;
        mark.classList.toggle("off", !isOn);
        here += isOn;
      }
      count.textContent = here === total ? plural(total) : here + " of " + plural(total);
      seen += here;
      all += total;
    }
    shown.textContent = least.toFixed(2);
    slider.setAttribute("aria-valuetext", "score at least " + least.toFixed(2));
    status.textContent = seen + " of " + plural(all) + " marked";
  };
  slider.addEventListener("input", update);
  dial.hidden = false;
  update();
})();
