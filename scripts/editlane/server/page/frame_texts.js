"use strict";
// The words that all pages share. A page adds its own with `addTexts`.
const TEXTS = {
  en: {
    other: "中文",
    locale: "en",
    space: " ",
    colon: ": ",
    forget: "Forget the token",
    tokenTitle: "This server needs a token",
    tokenHint: "It is kept in this tab until you close it, and sent to this server only.",
    token: "Token",
    tokenSend: "Use it",
    tokenWrong: "The server does not accept this token. Whoever started it has the right one.",
    when: "Time",
    seconds: (n) => `${n} s`,
    why: "Reason",
    todo: "What to do",
    state: "State",
    stateTitle: "Server",
    draining: "Going down: it finishes what it has and takes nothing new",
    waitingToken: "Waiting for the token",
    connecting: "Connecting",
    gone: (time) => `No answer since ${time}. Is the server still running? What you see is older.`,
    trouble: (status, message) => `The server answered ${status}: ${message}`,
  },
  zh: {
    other: "English",
    locale: "zh-CN",
    space: "",
    colon: "：",
    forget: "清除令牌",
    tokenTitle: "此服务器需要令牌",
    tokenHint: "令牌只保存在此标签页中，关闭后即清除，也只发送给此服务器。",
    token: "令牌",
    tokenSend: "使用",
    tokenWrong: "服务器不接受此令牌。请向启动服务器的人索取正确的令牌。",
    when: "时间",
    seconds: (n) => `${n} 秒`,
    why: "原因",
    todo: "怎么办",
    state: "状态",
    stateTitle: "服务器",
    draining: "正在关闭：完成手头的工作，不再接受新的请求",
    waitingToken: "等待令牌",
    connecting: "正在连接",
    gone: (time) => `自 ${time} 起没有回应。服务器还在运行吗？下面是更早的内容。`,
    trouble: (status, message) => `服务器回答 ${status}：${message}`,
  },
};

function addTexts(own) {
  for (const [language, words] of Object.entries(own)) Object.assign(TEXTS[language], words);
}
