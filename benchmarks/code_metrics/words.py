"""The word lists by which names are judged."""


def _split(text: str) -> frozenset[str]:
    return frozenset(text.split())


IRREGULAR_PARTICIPLES = _split("""
    awoken begun bent bitten blown born bought bound broken brought built burnt caught chosen come
    done drawn driven eaten fallen fed felt fled flown forgotten found given gone gotten grown had heard held hidden
    hung kept known laid lain learnt led left lent lit lost made meant met mistaken paid ridden risen rung said seen
    sent shaken shone shot shown slept sold sought spent spoken spun stolen stood struck stuck sung sunk swept swum
    sworn taken taught thought thrown told torn undone understood won worn wound woven written
""")
"""Past participles without -ed; those that equal the base form (put, read, set, cut, split) are verbs in a name."""

BASE_FORMS_IN_ED_OR_EN = _split("""
    bleed breed brighten embed exceed feed flatten happen hasten lengthen listen need open proceed seed sharpen shed
    shorten speed straighten strengthen succeed tighten wed weed widen
""")
"""Verbs in the base form that end like participles."""
NOUNS_IN_ED_OR_EN = _split("bed garden green kitchen pen red screen ten then token when")

VAGUE_NAMES = _split("""
    all also another any anything begun both done each either ended few fewer found given gone had has have held here it
    its itself kept known least left less lot made many me mine more most much neither none nothing off once one ones
    only other others ours own rest said same seen several some something stuff such taken that theirs them there these
    they thing things this those told us we what whatever which who whoever whole whose
""")
"""Pronouns, adverbs, quantifiers and bare participles, which do not say what a variable holds.

Not among them are before, after, first, last, next, best and now: they say which of several values is held.
"""

PREDICATES = frozenset(
    {
        "is",
        "are",
        "has",
        "have",
        "may",
        "can",
        "must",
        "needs",
        "should",
        "was",
        "begins",
        "exists",
        "fits",
        "runs",
        "suits",
    }
)
"""First words of names that read as a claim."""

VERBS = _split("""
    abort absorb accept adapt add adopt advance advise align allow analyse analyze annotate answer append apply arm
    arrange ask assemble assert assign attach average await backoff balance become begin bind blame blank block
    bound bring broadcast build bury cache calculate calibrate call cancel capture carry cast catch change check
    choose claim clamp classify clean clear click clip clone close collapse collect combine come compact compare
    compile complete compose compress compute concatenate configure confirm connect construct consume convert
    convolve copy correct count crash create crop cut deal decide declare decode decompress decrease deduplicate
    defer define delay delete deliver derive describe destroy detach detect determine digest disable discard
    discover dispatch display divide do download drain draw drop duplicate emit enable encode end enforce enqueue
    ensure enter enumerate escape estimate evaluate evict examine exchange exclude exec execute exist exit expand
    expect explain explore export extend extract fail fetch fill filter find finish fit fix flatten flip flush fold
    follow forget form format forward free freeze fuse gather generate get give go group grow guard guess halve
    handle hang hash have hear hide hold hurry identify ignore import improve include increase index infer inform
    initialise initialize insert inspect install interpolate interrupt invert invoke issue iterate join judge keep
    key kill know label launch lay learn leave let letterbox lift limit link list listen live load locate lock log
    look loop lose lower make map mark mask match mean measure merge migrate mirror mix model move multiply mute
    name narrow need normalise normalize note notice notify number observe offer open optimise optimize order orient
    override pack pad pair parse partition pass patch pause pay perform permit pick pin ping place plan plot poll
    pop populate post postpone predict prepare preprocess present preserve prevent print probe proceed process
    produce profile project propose protect prove provide prune publish pull punish purge push put quantise quantize
    quarantine query quiet quote raise rank rate reach read rebuild recall receive recognise recommend reconvert
    record recover redact redirect reduce refer refine refresh refuse register reject release reload rely remap
    remember remove rename render renew repair repeat replace reply report represent request requeue require reserve
    reset reshape resize resolve respond restart restore restrict resume retain retry return reuse reverse revert
    rewrite rotate round route run sample save say scale scan schedule score search see seek select send separate
    serialize serve set settle shape share shift shorten show shrink shuffle shut sign silence simplify sketch skip
    sleep slice solve sort speak spell spend split spread squeeze stage start state stay stop store stream stretch
    strip submit subscribe substitute subtract succeed suffix suggest suit sum summarise summarize supply support
    suppress suspend swap switch sync synchronize tabulate take talk tell terminate test think throttle throw tie
    tighten tile time toggle touch trace track train transfer transform translate transpose traverse treat trim
    truncate try turn unbind understand undo unify unlink unload unlock unpack unwrap update upgrade upload use
    validate verify view visit vote wait wake walk want warm warn wash watch widen withdraw work wrap write yield zip
""")
"""Verbs in the base form."""

NOUNS_TOO = _split("""
    block bound cast change claim click count crash cut deal delay estimate flip fold form free group guard hash issue
    label limit link list log loop map mark mask mean mix model name need note notice number order pack patch pause
    pin place plan plot post present probe process profile project query quiet quote rank rate reach record reply report
    reserve reverse round route sample scale schedule score shape share shift sign sketch slice spread stage state store
    stream stretch strip suffix suit sum supply support switch test tile time trace track train transfer transform turn
    view work zip
""")
"""Of `VERBS`, those that are as often nouns or adjectives: a verb only where another word follows (``count_rows``)."""
