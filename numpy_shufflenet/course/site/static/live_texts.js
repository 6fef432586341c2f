// What live exercises say, in the language of the page.

export const SECONDS = 20; // limit of one run

const chinese = document.documentElement.lang.startsWith("zh");
export const say = chinese
  ? {
      run: "运行",
      stop: "停止",
      reset: "重置",
      take: "下载为笔记本",
      code: (title) => `${title}：你的代码`,
      output: (title) => `${title}：输出`,
      picture: "图",
      help: "Tab 键缩进。要离开编辑器，先按 Esc，再按 Tab。Ctrl+Enter 运行。答案保存在此浏览器中。",
      unsaved: "此浏览器不保存答案：请把它们下载为笔记本。",
      loading: "正在加载 Python（第一次约需 10 秒）……",
      running: "正在运行……",
      right: "正确。",
      wrong: "还不对。",
      stopped: "你停止了这次运行。Python 正在重新启动。",
      slow: `你的代码在 ${SECONDS} 秒后仍未结束：是否有循环永不结束？它已被停止，Python 正在重新启动。`,
      ended:
        "你的代码结束了 Python 本身，例如调用了 os._exit、耗尽了内存，或函数无休止地调用自身。Python 正在重新启动。",
      failed: (reason) => `无法加载 Python：${reason}。请检查网络连接，再运行一次。`,
      missing: (reason) => `无法加载本课的笔记本：${reason}。`,
    }
  : {
      run: "Run",
      stop: "Stop",
      reset: "Reset",
      take: "Take out as a notebook",
      code: (title) => `${title}: your code`,
      output: (title) => `${title}: output`,
      picture: "Picture",
      help: "Tab indents. To leave the editor, press Esc, then Tab. Ctrl+Enter runs. Your answer stays in this browser.",
      unsaved: "This browser doesn't keep answers: take them out as a notebook.",
      loading: "Python is loading (about 10 seconds the first time) …",
      running: "Your code is running …",
      right: "Right.",
      wrong: "Not yet.",
      stopped: "You stopped the run. Python is starting again.",
      slow: `Your code was not done after ${SECONDS} seconds: does a loop never end? It was stopped, and Python is starting again.`,
      ended:
        "Your code has ended Python itself, for example by os._exit, by filling the memory, or by a function that calls itself without end. Python is starting again.",
      failed: (reason) =>
        `Python could not be loaded: ${reason}. Check the connection, and run again.`,
      missing: (reason) => `The notebook of this lesson could not be loaded: ${reason}.`,
    };
