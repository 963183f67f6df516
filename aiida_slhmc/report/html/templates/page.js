"use strict";
// Draws every figure of the page from the JSON that stands beside it.
(function () {
  const options = { responsive: true, displaylogo: false, toImageButtonOptions: { format: "svg" } };
  function draw(place) {
    const content = JSON.parse(document.getElementById(place.id + "-data").textContent);
    return Plotly.newPlot(place, content.data, content.layout, options).then(function () {
      place.dataset.drawn = String(content.data.length);
    });
  }
  const places = Array.from(document.querySelectorAll(".plot"));
  Promise.all(places.map(draw)).then(function () {
    document.documentElement.dataset.figures = String(places.length);
  }).catch(function (error) {
    document.documentElement.dataset.failure = String(error);
    throw error;
  });
})();
