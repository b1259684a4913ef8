"use strict";
(function () {
  var charts = JSON.parse(document.getElementById("data").textContent);
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  var symbols = { notice: "circle-open", warning: "triangle-up", critical: "diamond" };
  var places = Array.prototype.slice.call(document.querySelectorAll("[data-chart]"));

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  }

  function axis(own) {
    var shared = { color: colour("text"), gridcolor: colour("grid"), linecolor: colour("line"), zeroline: false, automargin: true };
    return Object.assign(shared, own);
  }

  function layout(chart) {
    var own = chart.layout, made = Object.assign({}, own);
    ["xaxis", "yaxis", "xaxis2", "yaxis2"].forEach(function (name) {
      if (own[name]) { made[name] = axis(own[name]); }
    });
    made.xaxis = made.xaxis || axis({});
    made.paper_bgcolor = made.plot_bgcolor = "rgba(0,0,0,0)";
    made.font = { family: "system-ui, sans-serif", size: 12, color: colour("text") };
    made.margin = { l: 48, r: 8, t: 8, b: 40 };
    made.legend = { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 };
    made.hoverlabel = { bgcolor: colour("back"), bordercolor: colour("line"), font: { color: colour("text") }, align: "left" };
    made.shapes = (own.shapes || []).map(function (shape) {
      return Object.assign({ line: { color: colour("risk"), width: 1, dash: "dot" } }, shape);
    });
    if (chart.learned && chart.by !== "number") {
      made.shapes.push({
        type: "line", yref: "paper", y0: 0, y1: 1, x0: 1000 * chart.learned, x1: 1000 * chart.learned,
        line: { color: colour("dim"), width: 1, dash: "dash" }
      });
    }
    if (chart.by === "number") {
      made.xaxis = axis({ type: "linear", title: { text: "action" } });
    } else if (own.xaxis && own.xaxis.type === "date") {
      made.xaxis.title = { text: "time of the log (UTC)" };
    }
    return made;
  }

  // Put a trace's points where they belong; a line has a gap where nothing happened for long.
  function arrange(trace, made, byNumber) {
    made.x = [];
    made.y = [];
    made.text = trace.text && [];
    delete made.numbers;
    delete made.pause;
    trace.x.forEach(function (second, i) {
      if (!byNumber && second === null) { return; }
      if (!byNumber && trace.pause && i && second - trace.x[i - 1] > trace.pause) {
        made.x.push(1000 * second - 1);
        made.y.push(null);
      }
      made.x.push(byNumber ? trace.numbers[i] : 1000 * second);
      made.y.push(trace.y[i]);
      if (trace.text) { made.text.push(trace.text[i]); }
    });
  }

  function traces(chart) {
    return chart.data.map(function (trace) {
      var made = Object.assign({}, trace), tint = colour(trace.meta);
      if (trace.numbers) { arrange(trace, made, chart.by === "number"); }
      made.marker = symbols[trace.meta]
        ? { color: tint, size: 8, symbol: symbols[trace.meta], line: { color: tint, width: 1 } }
        : { color: tint };
      made.line = Object.assign({ color: tint, width: trace.meta === "score" ? 1 : 2 }, trace.line);
      return made;
    });
  }

  var drawing = {
    displayModeBar: false, displaylogo: false, responsive: true, showTips: false
  };

  function draw(place) {
    var chart = charts[place.dataset.chart];
    place.dataset.drawn = "yes";
    return Plotly.react(place, traces(chart), layout(chart), drawing);
  }

  function again() {
    places.forEach(function (place) { if (place.dataset.drawn) { draw(place); } });
  }

  function zoom(place, action) {
    var shown = place._fullLayout.xaxis.range.map(function (end) { return place._fullLayout.xaxis.r2l(end); });
    var width = shown[1] - shown[0], middle = (shown[0] + shown[1]) / 2;
    var moves = {
      "in": [middle - width / 4, middle + width / 4],
      out: [middle - width, middle + width],
      earlier: [shown[0] - width / 2, shown[1] - width / 2],
      later: [shown[0] + width / 2, shown[1] + width / 2]
    };
    Plotly.relayout(place, action === "all" ? { "xaxis.autorange": true } : { "xaxis.range": moves[action] });
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest("button[data-for]");
    if (!button) { return; }
    var place = document.querySelector('[data-chart="' + button.dataset.for + '"]');
    if (button.dataset.by) {
      charts[button.dataset.for].by = button.dataset.by;
      button.parentNode.querySelectorAll("button[data-by]").forEach(function (other) {
        other.setAttribute("aria-pressed", String(other === button));
      });
      draw(place);
    } else {
      if (!place.dataset.drawn) { draw(place); }
      zoom(place, button.dataset.zoom);
    }
  });

  dark.addEventListener("change", again);
  window.addEventListener("beforeprint", function () { places.forEach(draw); });
  window.addEventListener("afterprint", again);

  // Many users have many charts: each is drawn when it is about to be seen.
  var watcher = new IntersectionObserver(function (seen) {
    seen.forEach(function (one) {
      if (one.isIntersecting) {
        watcher.unobserve(one.target);
        draw(one.target);
      }
    });
  }, { rootMargin: "600px" });
  places.forEach(function (place) { watcher.observe(place); });
})();
