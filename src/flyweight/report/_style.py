"""The page's style sheet and its one script (sorting a table by a click on its head). Neither loads anything."""

CSS = """
:root{color-scheme:light dark;--paper:#f7f5ef;--card:#fffdf9;--ink:#1a2530;--soft:#56616c;--line:#dcd7ca;--faint:#ece8dd;
--accent:#0a5a86;--control:#a8461c;--gain:#236b43;--warn:#8a5a00;--bad:#a3262c;
--serif:"Iowan Old Style","Palatino Linotype",Palatino,"Book Antiqua","URW Palladio L",Georgia,serif;
--sans:-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Liberation Sans",system-ui,sans-serif;
--mono:ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace}
@media (prefers-color-scheme:dark){:root{--paper:#10161c;--card:#172029;--ink:#e9e5db;--soft:#a6b0b9;--line:#2e3a45;--faint:#212c36;
--accent:#74bfe8;--control:#f29a70;--gain:#7fd0a0;--warn:#e3b75a;--bad:#f08a88}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 var(--sans);font-variant-numeric:tabular-nums lining-nums}
main{max-width:1240px;margin:0 auto;padding:0 clamp(16px,3.4vw,44px) 72px}
h1,h2,h3{font-family:var(--serif);font-weight:600;line-height:1.15;text-wrap:balance}
h2{font-size:1.75rem;margin:0 0 .35em;letter-spacing:-.01em}
h3{font-size:1.12rem;margin:0 0 .5em}
p{margin:.3em 0 .9em;max-width:72ch}
a{color:var(--accent)}
header{padding:clamp(36px,7vw,76px) 0 8px}
.kicker{margin:0;color:var(--soft);font-size:.78rem;letter-spacing:.14em;text-transform:uppercase}
h1{font-size:clamp(1.9rem,5vw,3.1rem);margin:.25em 0 .55em;letter-spacing:-.02em}
.lede{font:400 clamp(1.1rem,2.1vw,1.36rem)/1.5 var(--serif);max-width:58ch;margin:0 0 1.5em}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(160px,1fr));gap:0;margin:0;border-top:2px solid var(--ink)}
.figures div{padding:14px 18px 16px 0}
.figures dt{color:var(--soft);font-size:.86rem;line-height:1.35}
.figures dd{margin:0 0 2px;font:600 clamp(1.9rem,4.4vw,2.7rem)/1.1 var(--serif);letter-spacing:-.02em}
.figures div{display:flex;flex-direction:column-reverse;justify-content:flex-end}
nav{border-top:1px solid var(--line);border-bottom:1px solid var(--line);margin:22px 0 0;padding:9px 0;font-size:.88rem}
nav a{margin-right:1.35em;text-decoration:none;display:inline-block;padding:3px 0}
nav a:hover{text-decoration:underline}
section{padding-top:52px}
.hint{color:var(--soft);font-size:.88rem;margin:.2em 0 1em}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:6px}
.scroll:focus-visible,th button:focus-visible,a:focus-visible,summary:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:.84rem;line-height:1.35}
caption{caption-side:top;text-align:left;color:var(--soft);padding:10px 12px 4px;font-size:.84rem}
th,td{padding:7px 7px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--faint);vertical-align:baseline}
tbody tr:last-child>*{border-bottom:0}
thead th{white-space:nowrap;color:var(--soft);font-weight:600;font-size:.77rem;vertical-align:bottom;border-bottom:1px solid var(--line);line-height:1.25}
thead .kinds th{border-bottom:0;padding-bottom:0;font-weight:400;font-style:italic;text-align:center}
thead .kinds th span{display:block;border-bottom:1px solid var(--line);padding-bottom:2px}
th.t,td.t{text-align:left}
td.w{white-space:normal;min-width:10.5em}
th:first-child,td:first-child{padding-left:12px}
tbody th{text-align:left;font-weight:600;position:sticky;left:0;background:var(--card);z-index:1}
thead th:first-child{position:sticky;left:0;background:var(--card);z-index:2}
tr.control th,tr.control td{color:var(--control)}
tr.last th,tr.last td{font-weight:600}
tbody tr:hover td,tbody tr:hover th{background:var(--faint)}
th button{all:unset;cursor:pointer;position:relative}
th button::after{position:absolute;left:100%;bottom:0;padding-left:1px;content:""}
th[aria-sort=ascending] button::after{content:"\\2191"}th[aria-sort=descending] button::after{content:"\\2193"}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:22px;align-items:start}
.card{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:16px 16px 12px;margin:0;min-width:0}
figure{margin:0}figcaption{color:var(--soft);font-size:.84rem;margin-top:6px}
.plot{display:block;width:100%;height:auto;font-family:var(--sans)}
.plot text{font-size:11.5px;fill:var(--soft)}.plot .name{fill:var(--ink);font-size:11.5px}.plot .axis{fill:var(--ink);font-size:12px}
.plot .name.c{fill:var(--control)}.plot .end{font-weight:700}
.plot .grid{stroke:var(--faint);stroke-width:1}.plot .frame{stroke:var(--soft);stroke-width:1;fill:none}
.plot .path{stroke:var(--accent);stroke-opacity:.32;stroke-width:1.5;fill:none;stroke-linejoin:round}
.plot .dot{fill:var(--accent);stroke:var(--card);stroke-width:1.5}.plot .ctl{fill:var(--card);stroke:var(--control);stroke-width:2}
.plot .spread{stroke:var(--accent);stroke-width:1.5;stroke-opacity:.55}.plot .lead{stroke:var(--soft);stroke-width:.8;stroke-opacity:.75}
.steps{list-style:none;padding:0;margin:14px 0 0;display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:0 34px}
.steps li{display:grid;grid-template-columns:5.6em 1fr;gap:10px;padding:7px 0;border-bottom:1px solid var(--line);font-size:.92rem}
.steps b{overflow-wrap:anywhere}.steps small{color:var(--soft);font-size:.84rem}
.steps em{font-style:normal;font-weight:600}.worse em{color:var(--bad)}.little em{color:var(--warn)}.gain em{color:var(--gain)}
.bars{font-size:.8rem}.bars th,.bars td{padding:2.5px 6px;border:0}
.bars tbody th{font:400 .76rem/1.3 var(--mono);background:none;z-index:auto;left:auto;white-space:normal;width:46%;padding-left:26px;position:relative}
.bars td.b{width:36%;padding-left:2px;text-align:left}.bars .bar{display:block;height:11px;min-width:1px;background:var(--soft);opacity:.62;border-radius:0 2px 2px 0}
.bars .top th{font-weight:700}.bars .top .bar{background:var(--accent);opacity:1}.bars .top td{font-weight:600}
.bars .rank{position:absolute;left:4px;top:3px;font:700 .68rem/1.35 var(--sans);min-width:1.4em;text-align:center;border-radius:3px;background:var(--accent);color:var(--card)}
.named{padding-left:1.3em;margin:.4em 0 1em;font-size:.9rem}.named code,.facts code{font:.86em var(--mono);overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,470px),1fr));gap:22px 30px}
.tile{display:grid;grid-template-columns:repeat(4,1fr);gap:6px}
.tile figcaption{margin-top:3px;font-size:.75rem;line-height:1.25;overflow-wrap:anywhere}.tile p{grid-column:1/-1;margin:0;font-size:.78rem;color:var(--soft)}
.tile img{display:block;width:100%;aspect-ratio:1;object-fit:contain;image-rendering:pixelated;background:var(--faint);border-radius:3px}
.absent{aspect-ratio:1;display:grid;place-items:center;background:var(--faint);border-radius:3px;color:var(--soft);font-size:.75rem;text-align:center}
.legend{display:flex;flex-wrap:wrap;gap:6px 20px;list-style:none;padding:0;margin:0 0 18px;font-size:.9rem}
.legend i{display:inline-block;width:15px;height:15px;border-radius:3px;border:1px solid var(--soft);vertical-align:-2px;margin-right:7px}
.legend small{color:var(--soft)}
.facts{display:grid;grid-template-columns:minmax(7.5em,13em) 1fr;margin:0;font-size:.9rem}
.facts dt,.facts dd{padding:6px 0;border-bottom:1px solid var(--faint);margin:0}.facts dt{color:var(--soft);padding-right:14px}
.facts dd{overflow-wrap:anywhere}.facts small{color:var(--soft);font-style:italic}
.flag{color:var(--bad);font-weight:600}
.picture{background:#fff;border:1px solid var(--line);border-radius:6px;overflow:auto;margin:0 0 18px}.picture img{display:block;max-width:none}
footer{margin-top:64px;border-top:1px solid var(--line);padding-top:12px;color:var(--soft);font-size:.84rem}
@media (max-width:560px){.facts{grid-template-columns:1fr}.facts dt{border:0;padding-bottom:0}.facts dd{padding-top:0}
.figures{grid-template-columns:1fr 1fr}.card{padding:12px 8px 10px}section{padding-top:42px}.steps li{grid-template-columns:4.6em 1fr}
.scroll tbody th{max-width:6.5em;white-space:normal;overflow-wrap:anywhere}}
@media print{:root{color-scheme:light;--paper:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--faint:#e6e6e6;--accent:#0a5a86;--control:#a8461c;
--gain:#236b43;--warn:#8a5a00;--bad:#a3262c}body{font-size:10.5pt}main{max-width:none;padding:0}nav{display:none}
header{padding-top:0}section{padding-top:26px}.scroll{overflow:visible;border:0}table{font-size:6.8pt}th,td{padding:3px 3px}td.w{min-width:8em}
.card,figure,tr,.tile{break-inside:avoid}.bars{font-size:6.8pt}.bars tbody th{font-size:6.4pt}h2,h3{break-after:avoid}
.picture{overflow:visible;break-inside:avoid}.picture img{max-width:100%;height:auto}.bar,.legend i,.rank{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = table.tHead.rows[table.tHead.rows.length - 1].cells;
  [...heads].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const value = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
      const rows = [...body.rows].sort((a, b) => {
        const x = value(a), y = value(b), apart = (x === "") - (y === "");
        if (apart) return apart;
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y, undefined, {numeric: true}) : x - y;
        return down ? -order : order;
      });
      body.append(...rows);
    });
  });
}
"""
