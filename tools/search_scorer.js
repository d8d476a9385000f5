// How the search ranks pages: Sphinx's own points, and three more for each word of the query that is in a title of the
// page or in an entry of the index that leads to it. Without these a page has the points of its best word alone, and
// those of many pages are equal. tools/index.py hands this file to Sphinx.
var Scorer = (() => {
  let known = null;  // for each page the words of its titles and entries

  function collect() {
    const stemmer = new Stemmer(), index = Search._index;
    known = new Map(index.docnames.map((page) => [page, new Set()]));
    for (const listed of [index.alltitles, index.indexentries]) {
      for (const [text, places] of Object.entries(listed)) {
        for (const word of splitQuery(text.toLowerCase())) {
          for (const [page] of places) known.get(index.docnames[page]).add(stemmer.stemWord(word));
        }
      }
    }
  }

  function score([page, , anchor, description, points]) {
    if (anchor !== "" || description !== null || points > 15) return points;  // found as an entry or as a name of the code
    if (known === null) collect();
    const [, words] = Search._parseQuery(new URLSearchParams(window.location.search).get("q") || "");
    return points + 3 * [...words].filter((word) => known.get(page).has(word)).length;
  }

  return {
    score, objNameMatch: 11, objPartialMatch: 6, objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
    title: 15, partialTitle: 7, term: 5, partialTerm: 2,
  };
})();
