// The editor of the exercises, from CodeMirror 6. `build.sh` bundles it into one static file.
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { pythonLanguage } from "@codemirror/lang-python";
import {
  bracketMatching,
  indentOnInput,
  indentUnit,
  syntaxHighlighting,
} from "@codemirror/language";
import { EditorState } from "@codemirror/state";
import { EditorView, drawSelection, keymap, lineNumbers } from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";

// Makes an editor of Python code in `parent`. `attributes` are those of the text for screen
// readers; `changed(text)` is called after each change, and `run()` by Ctrl+Enter or Shift+Enter.
// Tab indents; after Escape it moves the focus on, as CodeMirror does by itself.
export function makeEditor(parent, { text, attributes, changed, run }) {
  const runs = () => (run(), true);
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: text,
      extensions: [
        keymap.of([
          { key: "Mod-Enter", run: runs },
          { key: "Shift-Enter", run: runs },
          indentWithTab,
          ...defaultKeymap,
          ...historyKeymap,
        ]),
        pythonLanguage,
        syntaxHighlighting(classHighlighter), // colours are in site.css, for light and dark
        history(),
        lineNumbers(),
        drawSelection(),
        bracketMatching(),
        indentOnInput(),
        indentUnit.of("    "),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of(attributes),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) changed(update.state.doc.toString());
        }),
      ],
    }),
  });
  return {
    get text() {
      return view.state.doc.toString();
    },
    // A change like any other, so that the reader can undo it.
    set text(insert) {
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert } });
    },
  };
}
