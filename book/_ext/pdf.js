/* Makes of the joined pages what is printed: the text alone, with contents, and links that lead to where they say. */
async () => {
  const article = document.querySelector("article.bd-article");
  const banner = document.querySelector(".bd-header-announcement"); // says where the build is not on all of MNIST
  const unwanted = "script, noscript, button, .headerlink, .tag_parameters, details.hide, .tableofcontents-wrapper";
  article.querySelectorAll(unwanted).forEach((element) => element.remove());
  await window.MathJax?.startup?.promise;

  // Sphinx numbers the citations of each page from 1, so that in the joined one several elements have one id.
  for (const entry of article.querySelectorAll(".citation")) entry.id = `reference-${entry.id}`;
  for (const link of article.querySelectorAll(".bibtex-citation a")) {
    link.setAttribute("href", `#reference-${link.hash.slice(1)}`);
  }
  for (const back of article.querySelectorAll(".citation .backrefs")) back.remove();
  const seen = new Set();
  for (const section of article.querySelectorAll("section[id]")) {
    while (seen.has(section.id)) section.id += "-again";
    seen.add(section.id);
  }
  // Files beside the pages do not come along.
  for (const link of article.querySelectorAll("a[href]")) {
    if (!link.getAttribute("href").startsWith("#") && link.protocol === "file:") link.replaceWith(...link.childNodes);
  }

  // A section that every chapter has, as its summary, is not listed.
  const headings = [...article.querySelectorAll("h2, h3")];
  const titles = headings.map((heading) => heading.textContent);
  const listed = headings.filter((_, i) => titles.indexOf(titles[i]) === titles.lastIndexOf(titles[i]));
  const contents = document.createElement("nav");
  contents.className = "printed-contents";
  contents.innerHTML = "<h2>Contents</h2><ol></ol>";
  const list = contents.querySelector("ol");
  for (const heading of listed) {
    const line = document.createElement("li");
    const link = document.createElement("a");
    link.href = `#${heading.closest("section").id}`;
    link.append(heading.textContent);
    line.className = heading.matches("h2") ? "chapter" : "section";
    line.append(link, document.createElement("span"));
    list.append(line);
  }
  article.querySelector(".toctree-wrapper").before(contents);
  if (banner) article.prepend(banner);
  document.body.replaceChildren(article);
  document.documentElement.dataset.theme = "light";
  await Promise.all([...document.images].map((image) => image.decode()));

  /** Write into the contents on which page each heading is, given the pages of all headings of the document. */
  window.fillContents = (pages) => {
    const all = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")];
    if (all.length !== pages.length) throw new Error(`${pages.length} pages for ${all.length} headings`);
    const numbers = list.querySelectorAll("span");
    listed.forEach((heading, i) => (numbers[i].textContent = pages[all.indexOf(heading)]));
  };
}
