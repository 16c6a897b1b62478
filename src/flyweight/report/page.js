// A click on a table's heading sorts it; without scripts the table stands as it is.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = table.tHead.rows[table.tHead.rows.length - 1].cells;
  [...heads].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = head.title ? `${head.title}: sort` : "sort";
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
// A table of modules: a click on a name folds what is in it, a click on a heading sorts the modules of each module.
for (const table of document.querySelectorAll("table.tree")) {
  const body = table.tBodies[0], root = {children: []}, open = Number(table.dataset.open);
  const chain = [root];
  for (const row of body.rows) {
    const depth = Number(row.dataset.depth), node = {row, children: [], shut: depth >= open};
    chain.length = depth + 1;
    chain[depth].children.push(node);
    chain.push(node);
  }
  const show = (node, hidden) => {
    for (const child of node.children) {
      child.row.hidden = hidden;
      show(child, hidden || child.shut);
    }
  };
  const place = (node) => {
    for (const child of node.children) {
      body.append(child.row);
      place(child);
    }
  };
  const button = (cell, press) => {
    const made = document.createElement("button");
    made.type = "button";
    made.append(...cell.childNodes);
    cell.append(made);
    made.addEventListener("click", () => press(made));
    return made;
  };
  const fold = (node) => {
    for (const child of node.children) {
      fold(child);
      if (!child.children.length) continue;
      const made = button(child.row.cells[0], (own) => {
        child.shut = !child.shut;
        own.setAttribute("aria-expanded", String(!child.shut));
        show(root, false);
      });
      made.setAttribute("aria-expanded", String(!child.shut));
    }
  };
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => button(head, () => {
    const down = head.getAttribute("aria-sort") !== "descending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (node) => node.row.cells[column].dataset.v ?? node.row.cells[column].textContent;
    const sort = (node) => {
      node.children.sort((a, b) => {
        const x = value(a), y = value(b);
        const order = isNaN(x) || isNaN(y) || x === "" || y === "" ? x.localeCompare(y, undefined, {numeric: true}) : x - y;
        return down ? -order : order;
      });
      node.children.forEach(sort);
    };
    sort(root);
    place(root);
  }));
  fold(root);
  show(root, false);
}
