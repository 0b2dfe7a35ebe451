"""What the pages say, in English and Chinese. The English text is the key; what forms say of fields stands in `hints`. A third party's verb is called and explained as it does it."""

from __future__ import annotations

from collections.abc import Callable

LANGUAGES = {"en": "English", "zh": "中文"}
ZH = {
    # frame
    "Try": "试用",
    "Run": "运行结果",
    "Desk": "编辑台",
    "Review": "审核",
    "Alerts": "警报",
    "Health": "健康状况",
    "Skip to the content": "跳到正文",
    "Pages": "页面",
    "Runs": "运行",
    "Language": "语言",
    "Sign in": "登录",
    "Sign out": "退出",
    "Key": "密钥",
    "An API key of this service, made with kgrec keys add; it stays on the server's side of a sealed cookie.": "本服务的 API 密钥，用 kgrec keys add 生成；它只保存在加密的 cookie 里。",
    "This page cannot be shown": "无法显示此页面",
    "signed in as": "登录身份",
    # try
    "What to ask": "可做的事",
    "Ask": "提问",
    "Make the edit": "执行编辑",
    "Start": "开始",
    "More options": "更多选项",
    "must be given": "必填",
    "one a line": "每行一个",
    "parted by commas": "用逗号分隔",
    "NAME=VALUE, one a line": "每行一个 名称=值",
    "A table pasted from a spreadsheet, its first line names the columns.": "从电子表格粘贴的表，第一行是列名。",
    "for example": "例如",
    "Result": "结果",
    "Nothing was found.": "没有结果。",
    "Why?": "为什么？",
    "score": "得分",
    "adds": "贡献",
    "what the score is the sum of": "得分由哪些部分相加而成",
    "{n} answers": "{n} 个回答",
    "and {n} more": "另有 {n} 项",
    "answered by {run} as of edit {edit}": "由 {run} 回答，截至第 {edit} 次编辑",
    "This was done already; it was not done again.": "已经做过，没有重复执行。",
    "Done; edit {edit} of {run}.": "完成；{run} 的第 {edit} 次编辑。",
    "Back to the desk": "返回编辑台",
    # run
    "Report": "报告",
    "Open the full report": "打开完整报告",
    "How sure": "把握程度",
    "Share of answers that may be wrong": "允许出错的回答比例",
    "Show": "显示",
    "share answered": "回答的比例",
    "share of answers that may be wrong": "允许出错的比例",
    "There is no report.html in the run; kgrec report writes it.": "运行文件夹里没有 report.html；kgrec report 会生成它。",
    "Compare": "比较",
    "Compare with": "与之比较",
    "Each has its own 95 % interval; only intervals that do not overlap tell a difference.": "每个数值各有 95 % 区间；只有区间不重叠时才说明有差别。",
    "The two were fitted or tested on different data, so their figures say little about each other.": "两者的训练或测试数据不同，数值难以相互比较。",
    # desk
    "Search": "搜索",
    "Words": "词",
    "Edit": "修改",
    "Remove": "删除",
    "Undo the last edit": "撤销上一次编辑",
    "Add": "新增",
    "What an editor should look at": "编辑应当查看的内容",
    "Look": "查看",
    "{n} found": "找到 {n} 条",
    # review
    "Waiting": "待审核",
    "Nothing waits.": "没有待审核的内容。",
    "Decided": "已决定",
    "Allow": "允许",
    "Block": "屏蔽",
    "Take back": "收回",
    "allowed": "允许",
    "blocked": "屏蔽",
    "What is safe to show": "哪些内容可以展示",
    "There are no rules beside this run; write {file} to hold back or block answers.": "此运行旁边没有规则；写入 {file} 即可拦截或屏蔽回答。",
    "by": "决定人",
    "note": "备注",
    "why": "原因",
    "when": "时间",
    "text": "文本",
    "id": "编号",
    "decision": "决定",
    # health
    "Served runs": "提供服务的运行",
    "run": "运行",
    "domain": "领域",
    "edit": "编辑",
    "published": "发布",
    "shown since a rollback": "回滚后显示",
    "yes": "是",
    "no": "否",
    "ready": "就绪",
    "waiting in the queue": "排队等待",
    "Answered requests": "已回答的请求",
    "verb": "动词",
    "requests": "请求数",
    "mean": "平均",
    "99 % within": "99 % 在此之内",
    "no answer yet": "尚无回答",
    "Refused": "被拒绝",
    "All figures of the service": "服务的全部指标",
    "figure": "指标",
    "value": "值",
    "Canary": "金丝雀",
    "Drift": "漂移",
    "How far from what the run was made for, of the bound above which it says something.": "与训练时的差异，相对于有意义的界限。",
    "task": "任务",
    "what": "内容",
    "how": "方法",
    "of the bound": "占界限",
    "Who did what": "操作记录",
    "Load what is published now": "载入当前发布的版本",
    "Go back to the run of before": "回到之前的版本",
    # alerts
    "Acknowledge": "确认",
    "acknowledged": "已确认",
    "There are no alerts.": "没有警报。",
    "The series over time, with thresholds and articles": "各序列随时间的变化、阈值与文章",
    "open": "未结束",
    "level": "水平",
    "threshold": "阈值",
}
FIELDS_ZH = {
    "user": "顾客",
    "history": "已选商品",
    "text": "文字",
    "k": "数量",
    "where": "条件",
    "exclude": "排除",
    "new": "只要新品",
    "explain": "说明理由",
    "language": "理由的语言",
    "item": "商品",
    "file": "表格",
    "question": "问题",
    "questions": "问法",
    "answer": "回答",
    "variants": "其他问法",
    "context": "上文",
    "values": "已知信息",
    "related": "关联",
    "budget": "出错比例",
    "category": "类别",
    "locale": "语言地区",
    "id": "编号",
    "ids": "编号",
    "words": "词",
    "companies": "公司",
    "like": "相似文章数",
    "at most": "至多",
    "at least": "至少",
    "boost": "提升",
    "diversity": "多样性",
    "note": "备注",
    "n": "数量",
    "column": "列",
    "log": "记录问题",
    "removed": "含已删除",
    "asked": "查询数",
    "again": "重新计算",
    "compose": "合并回答",
    "task": "任务",
    "texts": "文本",
    "episode": "警报编号",
    "out of scope": "范围外比例",
}
VERBS_ZH = {
    "recommend": "推荐",
    "similar": "相似商品",
    "add-items": "新增商品",
    "ask": "提问",
    "add": "新增",
    "edit": "修改",
    "remove": "删除",
    "list": "列出",
    "undo": "撤销",
    "review": "检查",
    "feedback": "反馈",
    "recalibrate": "重新校准",
    "classify": "分类",
    "acknowledge": "确认警报",
    "evaluate": "评测",
    "price": "规则的代价",
    "update": "更新",
    "label-next": "下一批标注",
}


def teller(language: str) -> Callable[..., str]:
    """say(text, **values): the text in that language, with values in its braces."""

    def say(text: str, **values: object) -> str:
        told = ZH.get(text, text) if language == "zh" else text
        return told.format(**values) if values else told

    return say


def labels(language: str, of: dict[str, str]) -> Callable[[str], str]:
    """The name of a field or verb in that language."""
    return (lambda name: of.get(name, name)) if language == "zh" else (lambda name: name)


def spoken(asked: str | None, accepts: str) -> str:
    """A language: the one asked for, else the first one that a browser accepts and the pages speak, else English."""
    if asked in LANGUAGES:
        return asked
    for part in accepts.lower().split(","):
        if (code := part.strip()[:2]) in LANGUAGES:
            return code
    return "en"
