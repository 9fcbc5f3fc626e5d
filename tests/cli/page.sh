#!/usr/bin/env bash
# The page of results: nothing is loaded from elsewhere, script and style are small; in headless Chromium, where it is
# installed, it sorts, filters, hides, draws, lights rows, and keeps its state in the address; without script it is whole.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
[ "$(wc -l <"$root/src/report/page.js")" -le 300 ] || fault "page.js has more than 300 lines"
[ "$(cat "$root"/src/report/page.{js,css,html} | wc -c)" -le 60000 ] || fault "the page beside its data is larger than 60 kB"
make_jets d.csv
jet_sweep "$halves" "accuracy, auc, size, macs" >c.yaml <<'END'
pipelines:
  reference: []
  prune: {stages: [{prune: {target_sparsity: $s}}], sweep: {s: [0.1, 0.3, 0.5, 0.7]}}
  "</script><b>": {stages: [{svd: {rank: $r}}], sweep: {r: [2, 4]}}
END
"$pquant" run c.yaml -o out -q >log 2>&1 || fault "run: $(tail -2 log)"
page=out/report.html
# Nights of the same sweep, the last five with less accuracy in one cell: drawn, and told since when.
mkdir nights
"$pquant" baseline set out -o nights/base.json -q >log 2>&1 || fault "baseline: $(cat log)"
/usr/bin/python3 - <<'END'
import json
night = json.load(open("nights/base.json"))
for i in range(12):
    night["made"] = f"2026-11-{i + 10}T02:00:00Z"
    for cell in night["cells"]:
        if cell["label"] == "prune s=0.5" and i == 7:
            cell["metrics"]["accuracy"]["value"] -= 0.05
    json.dump(night, open(f"nights/{i:02d}.json", "w"))
END
rm nights/base.json
expect 0 "report.html" "$pquant" report out --history nights
grep -q '<li>prune s=0.5: accuracy: worse since 2026-11-17T02:00:00Z' $page || fault "the page tells no step: $(grep -A3 'id="history"' $page | head -5)"
expect 2 "No such file" "$pquant" report out --history nowhere
# Charts draw what table.csv and the curves hold: a point a cell on its axis, a line a class and model.
/usr/bin/python3 - $page <<'END' || fault "charts of other numbers"
import csv, re, sys
charts = re.findall(r'<svg class="chart".*?</svg>', open(sys.argv[1]).read(), re.S)
assert len(charts) == 4, len(charts)
rows = {r["label"]: r for r in csv.DictReader(open("out/table.csv"))}
for axis, chart in zip("sr", charts):
    assert f">{axis}</text>" in chart
    told = sorted((float(x), float(y)) for x, y in re.findall(r"<circle[^>]*><title>[^\n]*\n([\d.]+): ([\d.]+)</title>", chart))
    due = sorted((float(l.rsplit("=", 1)[1]), 100 * float(r["accuracy"])) for l, r in rows.items() if f" {axis}=" in l)
    assert len(told) == len(due) > 1 and all(abs(a - b) < 1e-3 for p, q in zip(told, due) for a, b in zip(p, q)), (told, due)
    # places are linear in the numbers
    places = sorted((float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', chart))
    slope = (places[-1][0] - places[0][0]) / (due[-1][0] - due[0][0])
    if axis == "s":
        assert all(abs(p[0] - places[0][0] - slope * (d[0] - due[0][0])) < 0.2 for p, d in zip(places, due)), places
assert charts[2].count("<polyline") == 10 and charts[2].count("stroke-dasharray") == 5, charts[2].count("<polyline")
assert charts[3].count("<polyline") == 1 and charts[3].count("<circle") == 12
END
grep -o -E '(src|href|url|action|data|xlink:href)[=(]["'"'"']?(https?:)?//[^ >]*|@import|fetch\(|XMLHttpRequest|import\(|sendBeacon' $page >log &&
  fault "the page loads from elsewhere: $(head -3 log)"
grep -q '@[a-z]*@' <(sed '/^  /d' $page | grep -E '^@(title|style|body|data|script)@$') && fault "a mark of the skeleton is left"
[ "$(grep -c '</script>' $page)" = 2 ] || fault "a name of a pipeline ends a script"
/usr/bin/python3 - $page <<'END' || fault "its numbers are not those of table.csv"
import csv, json, re, sys
data = json.loads(re.search(r'id="data">(.*?)</script>', open(sys.argv[1]).read(), re.S).group(1))
at = [c["name"] for c in data["columns"]].index("accuracy")
have = {r["label"]: r["v"][at] for r in data["rows"]}
due = {r["label"]: 100 * float(r["accuracy"]) for r in csv.DictReader(open("out/table.csv"))}
assert have.keys() == due.keys() and all(abs(have[k] - due[k]) < 1e-4 for k in due), (have, due)
END

# Of several seeds and several series of a pipeline each has a line of its own, of other dashes, which the key shows.
jet_sweep "" "accuracy, size" >r.yaml <<'END'
seeds: {base: 1, repeats: 2}
pipelines:
  reference: []
  tuned: {stages: [{prune: {target_sparsity: $s}}, {finetune: {epochs: 1, lr: $lr}}], sweep: {s: [0.1, 0.3, 0.5], lr: [0.001, 0.01]}}
END
"$pquant" run r.yaml -o lines -q >log 2>&1 || fault "run of repeats: $(tail -2 log)"
/usr/bin/python3 - <<'END' || fault "lines of repeats or series that cannot be told apart"
import csv, re
chart, key = re.search(r'<svg class="chart".*?Accuracy against s\..*?</svg>\s*(?=<ul class="key">)(<ul.*?</ul>)', open("lines/report.html").read(), re.S).group(0, 1)
lines = re.findall(r'<polyline(?:[^>]*?stroke-dasharray="([^"]*)")?[^>]*? points="([^"]*)"><title>([^<]*)<', chart)
assert sorted(t for _, _, t in lines) == 2 * ["tuned lr=0.001"] + 2 * ["tuned lr=0.01"], lines
for _, points, title in lines:
    x = [float(p.split(",")[0]) for p in points.split()]
    assert len(x) == 3 and x[0] < x[1] < x[2], (title, points)
dashes = {t: {d for d, _, u in lines if u == t} for _, _, t in lines}
assert sorted(map(sorted, dashes.values())) == [[""], ["7 4"]], dashes
told = {t: d for d, t in re.findall(r'stroke-dasharray="([^"]*)"/></svg>([^<]*)</li>', key)}
assert told == {t: d.pop() for t, d in dashes.items()}, told
# the picture's data: a line ends at a blank line, and its x rises
for block in open("lines/plots/accuracy_s.dat").read().split("\n\n\n"):
    runs = [[float(l.split()[0]) for l in run.split("\n") if l and l[0] != "#"] for run in block.split("\n\n")]
    assert runs == [[0.1, 0.3, 0.5]] * 2, runs
END

chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
if [ -z "$chromium" ]; then
  echo "skipped: the page in a browser (no chromium)"
  done_testing
fi
# browse FILE [HASH]: the page after its script, and what was put behind it, have run.
browse() {
  timeout 900 "$chromium" --headless --no-sandbox --disable-gpu --virtual-time-budget=5000 --user-data-dir="$work/browser" \
    "${flags[@]}" --dump-dom "file://$work/$1${2:-}" 2>/dev/null
}
flags=()
if ! browse $page >dom || ! grep -q '</html>' dom; then
  echo "skipped: the page in a browser (it does not start)"
  done_testing
fi
{
  sed 's#</body>##; s#</html>##' $page
  cat <<'END'
<script>
const out = [], rows = () => [...document.querySelectorAll("table")[0].tBodies[0].rows].filter(r => !r.classList.contains("off"));
const labels = () => rows().map(r => r.cells[0].textContent).join("|");
const head = n => [...document.querySelectorAll("th[data-col]")].find(t => t.textContent.startsWith(n));
const say = (name, value) => out.push(`${name}: ${value}`);
const numbers = () => rows().map(r => Number(r.cells[head("stored").cellIndex].textContent.replace(/[^\d]/g, "")));
const rising = v => v.every((x, i) => i === 0 || x >= v[i - 1]);
say("start", labels());
head("stored").click(); say("rising", rising(numbers()));
head("stored").click(); say("falling", rising(numbers().reverse()));
say("hash", location.hash);
head("stored").click(); say("unsorted", labels());
const filter = document.querySelector("input[type=search]");
filter.value = "prune stored_bytes<1"; filter.dispatchEvent(new Event("input"));
say("words", labels());
filter.value = "prune stored_bytes<12000"; filter.dispatchEvent(new Event("input"));
say("filtered", labels()); say("hash", decodeURIComponent(location.hash));
say("dots", document.querySelectorAll("#chart .dot").length);
const ends = [...document.querySelectorAll("#chart .bar")].map(b => [b.y1.baseVal.value, b.y2.baseVal.value]).flat();
const frame = [...document.querySelectorAll("#chart .grid")].filter(g => g.x1.baseVal.value === g.x2.baseVal.value)[0];
say("whole bars", ends.length > 0 && ends.every(v => v > frame.y1.baseVal.value && v < frame.y2.baseVal.value));
const key = () => [...document.querySelectorAll("#marks li")].map(l => l.textContent).join("|");
say("key", key());
filter.value = ""; filter.dispatchEvent(new Event("input"));
const box = document.querySelector("#tools input[value=stored_bytes]"); box.click();
say("hidden", head("stored").classList.contains("off")); box.click(); say("shown", !head("stored").classList.contains("off"));
say("keys", key());
const colors = new Set([...document.querySelectorAll("#marks li path")].map(p => getComputedStyle(p).fill + p.getAttribute("d")));
say("looks", colors.size);
document.querySelectorAll("#marks li")[1].dispatchEvent(new MouseEvent("mouseenter"));
say("dim", [...document.querySelectorAll("#chart .dim")].map(d => d.dataset.row).sort().join());
document.querySelectorAll("#marks li")[1].dispatchEvent(new MouseEvent("mouseleave"));
say("bright", document.querySelectorAll("#chart .dim").length === 0);
const dot = document.querySelector("#chart .dot[data-row='2']");
dot.dispatchEvent(new MouseEvent("mouseenter")); say("lit", document.querySelector("tr.lit").cells[0].textContent);
say("hover", dot.querySelector("title").textContent.split("\n")[0]);
dot.dispatchEvent(new MouseEvent("mouseleave")); say("left", document.querySelectorAll("tr.lit").length);
dot.dispatchEvent(new MouseEvent("click")); say("picked", document.querySelector("#picked code").textContent);
say("record", /^cells\/[0-9a-f]{64}\.json$/.test(document.querySelector("#picked a").getAttribute("href")));
const mark = document.querySelector(".chart circle[data-row='4']");
mark.dispatchEvent(new MouseEvent("mouseenter")); say("chart", document.querySelector("tr.lit").cells[0].textContent);
say("charted", mark.querySelector("title").textContent.replace(/\n.*/s, "")); mark.dispatchEvent(new MouseEvent("mouseleave"));
const line = document.querySelector(".chart polyline[data-row='0']"); line.dispatchEvent(new MouseEvent("click"));
say("line", document.querySelector("#picked strong").textContent);
say("painted", getComputedStyle(line).stroke !== "none" && getComputedStyle(line).stroke !== "rgb(0, 0, 0)");
const up = document.querySelectorAll("#explore select")[1]; up.value = "macs"; up.dispatchEvent(new Event("change"));
say("axis", [...document.querySelectorAll("#chart text")].some(t => t.textContent.startsWith("MACs")));
const logs = document.querySelectorAll("#explore input[type=checkbox]"); logs[0].click(); say("linear", location.hash);
document.body.dataset.out = out.join("\n");
</script></body></html>
END
} >out/driven.html
browse out/driven.html >dom
/usr/bin/python3 - >got <<'END'
import html, re
found = re.search(r'data-out="(.*?)"', open("dom").read(), re.S)
print(html.unescape(found.group(1)) if found else "the script did not end")
END
diff - got <<'END' || fault "the page in a browser, above"
start: reference|prune s=0.1|prune s=0.3|prune s=0.5|prune s=0.7|</script><b> r=2|</script><b> r=4
rising: true
falling: true
hash: #sort=stored_bytes&down=1
unsorted: reference|prune s=0.1|prune s=0.3|prune s=0.5|prune s=0.7|</script><b> r=2|</script><b> r=4
words: 
filtered: prune s=0.5|prune s=0.7
hash: #filter=prune+stored_bytes<12000
dots: 2
whole bars: true
key: prune
hidden: true
shown: true
keys: reference|prune|</script><b>
looks: 3
dim: 0,5,6
bright: true
lit: prune s=0.3
hover: prune s=0.3
left: 0
picked: pquant run c.yaml --only 'prune s=0.3' --force
record: true
chart: prune s=0.7
charted: prune
line: reference
painted: true
axis: true
linear: #y=macs&logx=
END
# A link shows what it says; a strange one does no harm.
browse $page '#sort=model&down=1&filter=prune&x=macs&hide=accuracy' >dom
n=$(grep -o "class=\"[a-z ]*off\"" dom | wc -l); [ "$n" -ge 3 ] || fault "a link with a filter filters nothing"
browse $page '#sort=%ff&x=nothing&constructor=1&filter=%3Cimg%20src=x%20onerror=alert(1)%3E' >dom
grep -q '<svg id="chart"' dom || fault "a strange link breaks the page"
grep -q '<img src="x"' dom && fault "a link writes into the page"
# Without script: in a frame that may run none, whose document is looked at from outside.
/usr/bin/python3 - $page >out/frame.html <<'END'
import html, sys
print('<!DOCTYPE html><iframe sandbox="allow-same-origin" width="1200" height="3000" srcdoc="' + html.escape(open(sys.argv[1]).read()) + '"></iframe>')
print("""<script>
window.onload = () => {
  const d = document.querySelector("iframe").contentDocument, out = [];
  const seen = e => e !== null && e.getBoundingClientRect().height > 0;
  out.push("rows " + [...d.querySelectorAll("tr[data-row]")].filter(seen).length);
  out.push("tools " + seen(d.getElementById("tools")) + " chart " + seen(d.getElementById("explore")));
  out.push("charts " + [...d.querySelectorAll("svg.chart")].filter(seen).length);
  out.push("pictures " + [...d.images].filter(i => i.complete && i.naturalWidth > 0).length);
  out.push("overflow " + (d.documentElement.scrollWidth > 1200));
  document.body.dataset.out = out.join("; ");
};
</script>""")
END
browse out/frame.html >dom
grep -o 'data-out="[^"]*"' dom >got
grep -q 'rows 14; tools false chart false; charts 4; pictures [1-9][0-9]*; overflow false' got || fault "without script: $(cat got)"
done_testing
