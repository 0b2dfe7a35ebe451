"""Small lists of words that name a colour, a material, a size or an audience, English and Chinese; all else is learned from the corpus.

value -> how it is written; a value is how it is written, too.
"""

from __future__ import annotations


def _named(values: str, **forms: str) -> dict[str, tuple[str, ...]]:
    """Values, and of some how else they are written, separated by blanks."""
    return {**{value: () for value in _words(values)}, **{value: tuple(_words(other)) for value, other in forms.items()}}


def _words(text: str) -> list[str]:
    return text.split()


COLOURS = _named(
    """red blue green yellow pink black purple brown ivory cream beige navy lilac violet maroon burgundy crimson scarlet magenta amber teal
    aqua cyan khaki bronze copper fuchsia charcoal ecru indigo mauve taupe tan orange fawn olive 金色 银色""",
    white="offwhite off-white",
    gold="golden",
    silver="silvery",
    turquoise="turq turquois",
    grey="gray",
    multicolour="multicolor multicoloured multicolored multi-colour multi-coloured rainbow colourful",
    clear="transparent",
    红色="红 大红 大红色 酒红 酒红色",
    蓝色="蓝 天蓝 天蓝色 深蓝 深蓝色 浅蓝 藏青 藏青色",
    绿色="绿 墨绿 墨绿色 军绿 军绿色",
    黄色="黄 金黄 金黄色",
    粉色="粉红 粉红色",
    黑色="黑",
    白色="白 米白 米白色",
    紫色="紫",
    灰色="灰 深灰 浅灰 深灰色 浅灰色",
    棕色="棕 咖啡色 褐色",
    橙色="橘色 橘红 橘黄",
    米色="杏色 卡其 卡其色",
    彩色="多色 七彩",
)
MATERIALS = _named(
    """metal ceramic paper zinc enamel porcelain acrylic cotton plastic canvas leather slate wicker bamboo linen silk velvet iron stone
    marble resin rattan satin suede crystal brass terracotta earthenware clay denim fleece feather lace diamante pearl polyester nylon
    silicone foam cork straw tin copper bronze beech oak pine pvc jute raffia organza wire bead flock foil quartz seed 不锈钢 玻璃 塑料 硅胶 羽绒""",
    glass="murano",
    felt="feltcraft",
    wool="woollen woolen woolly",
    steel="st/steel",
    rubber="latex",
    aluminium="aluminum",
    knit="knitted",
    shell="mother-of-pearl mop",
    wood="wooden",
    fabric="cloth",
    grass="seagrass",
    crochet="crocheted",
    棉="纯棉 全棉 棉质 棉布",
    陶瓷="骨瓷 瓷",
    木="实木 木质 原木 竹木",
    竹="竹制 竹子",
    皮="真皮 牛皮 皮革 头层牛皮",
    丝="真丝 桑蚕丝 蚕丝",
    亚麻="棉麻 麻",
    羊毛="羊绒 毛呢",
    金属="合金 铝合金",
    铁="铁艺",
    银="纯银",
)
SIZES = _named(
    """tall long 中号 加厚""",
    small="sml little sm",
    large="lge lrg big",
    medium="med midi",
    mini="miniature tiny",
    jumbo="giant huge xl",
    大号="大码 加大 特大 超大",
    小号="小码 迷你",
)
AUDIENCES = _named(
    """学生 宠物""",
    children="childrens children's childs child's child kids kid's toddler",
    baby="newborn",
    women="womens women's ladies lady's woman",
    men="mens men's gents gentleman",
    girls="girl's",
    boys="boy's",
    pets="pet",
    儿童="小孩 宝宝 孩子 童",
    婴儿="新生儿",
    女士="女 女款 女式 女生 女性",
    男士="男 男款 男式 男生 男性",
    老人="中老年 老年",
)
NUMBERS = {word: str(n) for n, word in enumerate(_words("two three four five six seven eight nine ten eleven twelve"), 2)}
# what ends the phrase whose head is the product
BREAKS = frozenset(
    _words("""
    with w w/ in on for from by at to into under over inc including 配 带 含 送
    """)
)
# no theme and no head: how it is made, hung or sold, and words of grammar
PLAIN = frozenset(
    _words("""
    the a an and or & of set pack asst assorted assted asstd ass ast assort design designs des style styled shape shaped type new old
    double triple single extra deluxe classic hanging folding scented painted printed jewelled mirrored handmade hand made round
    square oval pair piece pieces pcs pc colour colours color colors coloured size fine good quality various decorative decorated
    plain lovely pretty nice cute soft thick thin top best great super chunky drop tier tone tones col cols effect finish image images
    natural pastel led portable circular rectangular i you your my own it its no st mr mrs two one do to as is la le les de du des ma mon 新款 新 款 正品 包邮 特价 热卖 加厚 装
    个 件 套 只 条 张 支 片 的 和 与 及 用 型 式 色 款式 时尚 简约
    """)
)
# what is sold where a name has no other noun: "bathroom set"
GENERIC = frozenset(_words("set pack"))
# parts of things, and what things are for: they stand before many types as a theme does
PURPOSES = frozenset(
    _words("""
    lid handle base strap block table wall floor ceiling desk door window car bike tv phone photo key coat shoe hat water watering
    drawing painting writing sewing knitting cooking baking frying measuring serving storage shopping travel luggage pocket foot face
    gift magic grow hot cold ice dry wet first aid boom battery solar electric hair body bath dinner lunch breakfast tea coffee string wash washing cleaning
    """)
)
# occasions, settings and styles that most shops have; further themes, motifs above all, are learned
THEMES = frozenset(
    _words("""
    christmas xmas easter birthday wedding valentine halloween advent yuletide anniversary graduation summer spring winter autumn
    party picnic kitchen bathroom bedroom garden office nursery beach vintage retro antique modern rustic victorian floral spotty
    spotted stripey striped 圣诞 新年 春节 生日 婚庆 情人节 中秋 复古 卡通 碎花 条纹 格子 田园 北欧 中式 欧式 厨房 浴室 卧室 户外
    """)
)
# in the prose of a description: what says of a word near behind it what it is there for, of a theme before it; and what denies it
CUES = {
    kind: frozenset(_words(words))
    for kind, words in {
        "material": "made crafted constructed woven built cast carved fashioned material fabric composition 材质 材料 面料 采用 选用 制成 成分",
        "colour": "colour color shade hue 颜色 色号",
        "size": "size sized 尺寸 尺码",
        "audience": "suit suitable suits ideal perfect designed 适合 适用 专为",
    }.items()
}
MOTIFS = frozenset(
    _words("design print printed motif pattern patterned theme themed decoration decorated scent scented 图案 印花 花纹 主题 香味")
)
DENIED = frozenset(_words("not no without free non faux imitation like look effect 非 无 不含 仿"))
