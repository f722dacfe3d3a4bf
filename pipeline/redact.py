"""Secrets and personal data out of a text, before it leaves for a model. Pure, and linear in the text's length.

Every repetition below is bounded, or starts only where its own characters do not precede it.
"""

import base64
import html
import re
import unicodedata
from collections.abc import Callable

_ANSI = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Characters that count as printable and show nothing: messages are hidden in them."""
_BEYOND_LATIN = re.compile("[^\0-\u02ff]{5,}")
_MOST_MARKS = 4
"""On one letter: more than any language has. Piled up, they cover the lines above and below."""

_PASSWORD = (
    r"pass(?:word|wd|[_-]?phrase|code|wort)|pwd"  # noqa: S105
    r"|kennwort|mot de passe|contrase[ñn]a|senha|пароль|密[码碼]|パスワード|비밀번호"
)
_KEY = r"(?:api|access|account|secret|pre-?shared|shared|subscription)[_ -]?key"
_SECRET = (
    rf"{_PASSWORD}|(?<!\d{{12}}:)secret|token|credentials?|authorization|{_KEY}"  # but not the kind in an ARN of AWS
    r"|(?<![A-Za-z0-9])p(?:ass|w)(?=\W{0,8}+(?!\d+\b)\S|$)"  # but not in "12 pass, 3 fail" as metrics write it
    r"|(?:private|signing|encryption|master|auth|session)[_-]?key"
)
_SECRET_NAME = re.compile(rf"(?:{_SECRET}|cookie)$", re.IGNORECASE)
_STATE = (
    r"(?:expired|invalid|missing|null|none|true|false|incorrect|required|wrong|empty|denied|failed|rejected|unset|yes|no"
    r"|revoked|disabled|enabled|unknown|malformed|blank|forbidden|mismatch|unauthori[sz]ed|unsupported)"
    r"""[.,;:)\]}"']{0,4}(?:\s|$)"""
)
_PROSE = (
    r"(?:must|has|have|had|is|are|was|were|not|no|cannot|can't|could|should|will|does|did|the|an?|this|that|your|user"
    r"|unable|unexpected|too|only|please|needs?|expires?|failed|error|set|see|check)\s+[a-z]"
)
"""What follows the name of a secret and is none: the second behind a colon, where a sentence goes on."""
_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_KEY_IN_BASE64 = re.compile(r"LS0tLS1CRUdJTi(?:BSU0Eg|BQUklW|BFQyBQ|BPUEVO|BFTkNS|BEU0Eg|BQR1Ag)[\w+/=]*+", re.ASCII)
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{5,}+\.[\w-]{5,}+(?:\.[\w-]*+)?", re.ASCII)
_WELL_KNOWN = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    # clouds
    r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}|AIza[\w-]{35}|ya29\.[\w-]{20,255}|GOCSPX-[\w-]{20,255}"
    r"|[\w~.]{3}\dQ~[\w~.-]{31,34}|do[opr]_v1_[a-f0-9]{64}|dapi[a-f0-9]{32}|hv[sbr]\.[\w-]{24,255}"
    # code and packages
    r"|gh[opsur]_[A-Za-z0-9]{30,255}|github_pat_\w{22,255}"
    r"|gl(?:pat|ptt|dt|rt|cbt|soat|oas|ft|imt|agent)-[\w-]{20,255}|AT[AC]TT3x[\w=-]{40,255}"
    r"|npm_[A-Za-z0-9]{36}|pypi-[\w-]{50,255}|rubygems_[a-f0-9]{48}|dckr_pat_[\w-]{20,255}"
    # chat, mail, payments
    r"|xox[a-z](?:\.xox[a-z])?-[\w-]{10,255}|xapp-[\w-]{10,255}|(?:bot)?\d{8,10}:AA[\w-]{33}"
    r"|SG\.[\w-]{16,64}\.[\w-]{16,64}|SK[a-f0-9]{32}|key-[a-f0-9]{32}"
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,255}|whsec_[A-Za-z0-9+/]{24,255}|shp(?:at|ca|pa|ss)_[a-f0-9]{32}"
    # models, monitoring, keys
    r"|sk-(?:(?:proj|svcacct|admin|ant|or)-[\w-]{20,255}|(?=[A-Za-z]{0,60}\d)[A-Za-z0-9]{20,255})"
    r"|hf_[A-Za-z0-9]{30,64}|gsk_[A-Za-z0-9]{40,255}|xai-[A-Za-z0-9]{60,255}|pplx-[A-Za-z0-9]{40,255}"
    r"|glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|glc_[\w+/=-]{32,255}|NRAK-[A-Z0-9]{27}|sntry[su]_[\w+/=-]{32,255}"
    r"|AGE-SECRET-KEY-1[0-9A-Z]{58}|dt0[a-z]\d\d\.[A-Z0-9]{24}\.[A-Z0-9]{64}|dp\.(?:pt|st|sa|ct)\.[A-Za-z0-9.]{40,255}"
    r"|PMAK-[a-f0-9]{24}-[a-f0-9]{34}|tskey-[a-z]{3,12}-[\w-]{20,255}|[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,255}"
    r"|(?:pul-|sbp_|bk[a-z]{2}_|sq[apu]_|lsv2_(?:pt|sk)_|CCIPAT_\w{1,30}_)[a-f0-9]{32,40}|xkeysib-[a-f0-9]{64}-\w{16}"
    r"|AKCp[A-Za-z0-9]{60,80}|cmVmdGtu[A-Za-z0-9]{50,60}|LTAI5t[A-Za-z0-9]{18}"
    r"|[MNO][A-Za-z0-9]{23,25}\.[\w-]{6}\.[\w-]{27,38}"
    # whoever makes it: a name, an underscore, and what has small and capital letters and digits in a row
    r"|[a-z][a-z0-9]{1,9}(?:_[a-z]{1,9}){0,3}_(?=[A-Z0-9]{0,40}[a-z])(?=[a-z0-9]{0,40}[A-Z])"
    r"(?=[A-Za-z]{0,40}\d{1,40}[A-Za-z]{1,40}\d)[A-Za-z0-9]{30,255}"
    r")",
    re.ASCII,
)
_HOOK = re.compile(
    r"(hooks\.slack\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/webhooks/\d{1,25}/"
    r"|webhook\.office\.com/webhookb2/|events\.pagerduty\.com/integration/)[\w/@-]{8,255}",
    re.ASCII,
)
_SIGNATURE = re.compile(r"""([?&](?:sig|signature|x-(?:amz|goog)-signature)=)[^&\s"'<>]{16,}+""", re.IGNORECASE)
_IN_URL = re.compile(
    r"([?&](?i:key|auth|code)=)(?=[A-Z\d]{0,40}[a-z])(?=[a-z\d]{0,40}[A-Z])(?=[A-Za-z]{0,40}\d)[\w%.~/+-]{24,}+"
    r"|((?i:phpsessid|jsessionid|sessionid|connect\.sid)=)[\w%.~+-]{16,}+",
    re.ASCII,
)
"""A secret by its looks, where its name may as well be that of something else."""
_USERINFO = re.compile(
    r"""://(?!git@)(?:[^\s/?#]{1,512}|[^\s/?#:@\[]{0,100}:(?!\d{1,5}[/?#])[^\s@"'<>]{1,200})@(?=[\w.\[-])"""
)
_ORACLE = re.compile(r"(jdbc:oracle:\w{1,10}:)[^\s/@]{1,100}/[^\s@]{1,200}@")
_HEADER = re.compile(
    r"""\b((?:set-)?cookie["']?:\s{0,3}(?=\S)|authorization["']?\s{0,3}[:=]\s{0,3}(?=(?:aws4|digest|signature|oauth)\b))"""
    r"""(?:(?<=:)[^\n"']{3,}+|[^\n]{3,}+)""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(bearer|basic)(\s{1,4})(?=[A-Za-z._~+/=-]{0,200}\d)[A-Za-z0-9._~+/=-]{8,}+", re.IGNORECASE)
_BASIC = re.compile(r"""\b(basic\s{1,4}|_?auth["']?\s{0,3}[=:]\s{0,3}["']?)([A-Za-z0-9+/]{8,}+={0,2})""", re.IGNORECASE)
_PAIR = re.compile(
    rf"""((?:{_SECRET})\\?["']?(?:(?: is)?\s{{0,3}}(?:=>?+|[:\uff1a](?::(?=\s))?=?+(?!\s{{0,3}}{_PROSE}))\s{{0,3}}|>)"""
    r"""(?:\{\s{0,20}\\?["']?value\\?["']?\s{0,3}[:=]\s{0,3})?+)"""
    rf"""(?!["']?\[redacted|/|secret\s\\?"|{_STATE})"""
    r"""("(?:[^"\\\n]|\\.)++"?|'(?:[^'\\\n]|\\.)++'?|\\"[^"\\]{1,512}\\["]"""
    r"""|[^\s;"'&=\\][^;"'&=\n]{0,63}(?=;\s?\w[\w ]{0,30}=)"""
    r"""|(?:(?:basic|bearer|token|apikey|negotiate)\s{1,3})?(?:[^\s,;&"'\\]|&(?!\w{1,8};|[\w.\[\]-]{1,64}=)){3,}+)""",
    re.IGNORECASE,
)
_NAMED = re.compile(
    rf"""(\b(?:name\\?["']?\s{{0,3}}[:=]\s{{0,3}}\\?["']?|key=["'])[\w.-]{{0,60}}?(?:{_SECRET})\\?["']?[\s,]{{1,20}}"""
    r"""\\?["']?value\\?["']?\s{0,3}[:=]\s{0,3})(?!\\?["']?\[redacted)"""
    r"""("(?:[^"\\\n]|\\.)++"?|'(?:[^'\\\n]|\\.)++'?|\\"[^"\\]{1,512}\\["]|[^\s,;}"'\\]++)""",
    re.IGNORECASE,
)
"""A variable of a container, or an entry of a settings file: its name in one field, its value in the next."""
_FLAG = re.compile(
    rf"""((?<![^\s"'\[(,])--?[\w-]{{0,40}}?(?:{_SECRET})(?:\s{{1,3}}|["'],\s{{0,3}}["']|,\s{{0,3}}(?=[^\s,\]]{{0,40}}\d))"""
    r"""|\bsshpass\s{1,3}-p\s{0,3}|\bredis-cli\b[^\n|;]{0,200}?\s-a\s{1,3}"""
    r"""|\b(?:mongo\w{0,5}|docker\s{1,3}login)\b[^\n|;]{0,200}?\s-p\s{1,3}"""
    r"""|\bldap[a-z]{3,8}\b[^\n|;]{0,200}?\s-w\s{1,3}|\bsqlcmd\b[^\n|;]{0,200}?\s(?-i:-P)\s{1,3}"""
    r"""|\blogin\s{1,3}\S{0,99}[^\s:;,.]\s{1,3}password\s{1,3}(?!(?:is|was|has|for|of|to|and|from|reset|change[ds]?)\b)"""
    rf"""|\b(?:{_PASSWORD})\s{{1,3}}(?=["'])|\bidentified\s{{1,3}}by\s{{1,3}}(?='))"""
    rf"""(?!-|["']?\[redacted|{_STATE})("[^"\n]++"|'[^'\n]++'|[^\s"']++)""",
    re.IGNORECASE,
)
_PHRASE = re.compile(
    rf"""(\b(?:pass[ -]?phrase|(?:seed|recovery)[ -]phrase|mnemonic):\s{{1,3}})(?![\[<{{`]|{_STATE}|{_PROSE})"""
    r"""[^\n,;."'&]{3,200}""",
    re.IGNORECASE,
)
"""Several words are one secret."""
_SAID = re.compile(
    rf"""((?:(?P<word>{_PASSWORD}|\b(?-i:AUTH)(?:\sdefault)?)|{_KEY}|token|secret)["'`*]{{0,3}}"""
    r"""(?:\s{1,3}(?:(?:(?:(?:was|is|has been)\s)?(?:(?:re)?set|changed|updated)\s)?to|is|was|are|[:=-]?>|→)\s{1,3}"""
    r"""|\s{1,3}|\s?\()["'`*]{0,3})"""
    r"""(?!(?:sha|md|argon|pbkdf|blake|utf|base|aes|oauth|[rehp]s|ipv|http)[\d_]{1,5}[a-z]{0,2}\b|&)"""
    # A word with a letter and a digit; of tokens and keys a longer one, with two. Names of pods, hosts and files go on.
    r"""(?:(?(word)(?=[^\s\d]{0,40}\d)(?=[^\sA-Za-z]{0,40}[A-Za-z])[\w!#$%^&?+~@]{5,}+"""
    r"""|(?=[A-Za-z~+]{0,40}\d[A-Za-z~+]{0,40}\d)(?=[\d~+]{0,40}[A-Za-z])[A-Za-z0-9~+]{8,}+"""
    r"""))(?=[\s,;:)"'`*]|[.!?](?:\s|$)|$)""",
    re.IGNORECASE,
)
"""A secret in a sentence, by its looks: what is all letters cannot be told from a word."""
_CALLED = re.compile(
    r"(\bcredentials?\s{1,3}(?:(?:are|is|of|for)\s)?[\w.@-]{1,64}:)(?=[^\s:\d]{0,40}\d)"
    r"""[^\s:,;"']{5,64}(?=[\s,;.)]|$)""",
    re.IGNORECASE,
)
_GO_DSN = re.compile(r"(?<![\w.-])(?!redacted:)[\w.-]{1,64}:[^\s@:]{1,100}@(?=(?:tcp|udp|unix)\()")
_MYSQL = re.compile(r"""(\b(?:mysql|mariadb)[^\n|;]{0,200}?\s-p)['"]?[^\s'"]++""")
_LOGIN = re.compile(r"""((?<!\S)(?:-u|--(?:proxy-)?user)[ =]{1,3}["']?)(?!\d+:\d+)[^\s:"'\[]{1,200}:[^\s"']++""")
_HASH = re.compile(
    r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{40,}+|\$(?:1|5|6|y|apr1)\$[^\s$:]{1,60}\$[./A-Za-z0-9]{20,}+|\$argon2\w{1,2}\$[^\s:]{20,}+"
    r"|SCRAM-SHA-\d{1,3}\$\d{1,9}:[^\s\"']{40,}+|pbkdf2[_:]sha\d{1,3}[:$]\d{1,9}\$[^\s$]{1,60}\$[^\s\"']{20,}+"
    r"|scrypt:[\d:]{3,20}\$[^\s$]{1,60}\$[^\s\"']{20,}+"
)
_ONE_TIME = re.compile(
    r"\b((?:otp|cvv2?|cvc2?|pin(?=\W{1,4}\d{4}| is \d{4}))(?:\s{0,3}[=:]\s{0,3}| is )|"
    r"(?:verification|one-time|security|2fa|mfa|sms)[ -](?:code|pin|password)(?:\s{0,3}[=:]\s{0,3}| is | (?=\d{4})))"
    r"\d{3,8}\b",
    re.IGNORECASE,
)
_EMAIL = re.compile(
    r"(?<![\w.+%-])(?!git@)(?:[\w.+-]|%(?!40))++(?:[@\uff20]|%40)(?!v?\d{1,6}\.\d)(?:[\w-]{1,63}\.){1,8}"
    r"(?!(?:service|socket|timer|mount|target|scope|slice|local|internal|svc)\b)[^\W\d_]{2,24}\b"
)
_SSN = re.compile(
    r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"
    r"|(?<=ssn: )\d{9}\b|(?<=ssn=)\d{9}\b|(?<=ssn )\d{9}\b",
    re.ASCII | re.IGNORECASE,
)
_PHONE = re.compile(
    r"(?<![\w.+])\+(?!1[0-4][0-5]\d\b)[1-9]\d{0,2}(?:[ .-]?\(?\d{1,5}\)?){2,6}(?!\w|[.:-]\d)"
    r"|(?<![\w-])(?:\([2-9]\d\d\) ?|[2-9]\d\d-)[2-9]\d\d-\d{4}(?![\w-])",
    re.ASCII,
)
_PHONE_CALLED_SO = re.compile(
    r"""\b((?:tel|telephone|phone|mobile|fax|msisdn)(?:[ _-]?(?:no|number))?["']?\s{0,3}[:=]\s{0,3}["']?)"""
    r"""\+?\d[\d ()/.-]{5,20}\d\b""",
    re.IGNORECASE,
)
_CARD = re.compile(r"(?<![\w-])(?<!\d\.)(?:(?:\d[ -]?){12,18}\d|\d{4}(?:\.\d{4}){3})(?!\w|[.-]\w)", re.ASCII)
_CARD_KIND = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|6(?:011|2\d\d|5\d\d)\d{12}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}"
)
_IBAN = re.compile(
    r"(?<!\w)(?:[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?|[a-z]{2}\d{2}[a-z0-9]{11,30})(?!\w)",
    re.ASCII,
)
_CODED = re.compile(
    r"(?:\\{1,8}u00|%|&#x)([2-6][0-9a-f]|7[0-9a-e]);?|&#(3[2-9]|[4-9]\d|1[01]\d|12[0-6]);|&(lt|gt|quot|apos|amp);"
    r"""|(?<!\\)\\++(?=["'/])|[\uff01-\uff5e]""",
    re.IGNORECASE,
)
"""A character as JSON, an address or HTML may write it, and as a wide one."""
_NESTED = 3
"""How often one may be written so: JSON in JSON, an address in an address."""
_IBAN_LENGTHS = (
    "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18FR27GB22GE22GI23GL18"
    "GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MR27MT31MU30NL18NO15"
    "PK24PL28PS29PT25QA29RO24RS22SA24SC31SE24SI19SK24SM27ST25SV28TL23TN24TR26UA29VA22VG24XK20"
)
"""ISO 13616's registry: by country, how long a number is. Hashes and ids that look like one are of other lengths."""


def visible(text: str) -> str:
    """``text`` without terminal codes and what shows nothing (format, tag and bidi characters); controls are spaces.

    A letter keeps the first four of its marks.
    """
    text = _BLANK.sub("", _ANSI.sub("", text))
    if not text.isprintable():
        text = "".join(_shown(c) for c in text)
    return _BEYOND_LATIN.sub(_unpiled, text)  # last: what is gone may have kept marks apart


def redacted(text: str) -> str:
    """``text`` with ``[redacted:KIND]`` for what has a well-known form.

    That is secrets of all kinds, and of personal data e-mail addresses, phone numbers with a country's code or as the
    US write them, card numbers, IBANs and US social security numbers. Names, ids and IP addresses stay. A text that
    hides one in the escapes of JSON, of an address or of HTML is returned without these escapes.
    """
    text = _hidden(text)
    plain = text
    for _ in range(_NESTED):
        plain = _CODED.sub(_decoded, plain)
    found = _hidden(plain) if plain != text else plain
    return text if found == plain else found


def names_secret(name: str) -> bool:
    """Whether what is called so (a label, a parameter) is a secret whatever it looks like."""
    return bool(_SECRET_NAME.search(name))


def _hidden(text: str) -> str:
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text


def _decoded(found: re.Match[str]) -> str:
    """The character that is spelled out; nothing for backslashes before what they escape."""
    if found[1] or found[2]:
        return chr(int(found[1], 16) if found[1] else int(found[2]))
    if found[3]:
        return html.unescape(f"&{found[3]};")
    return "" if found[0].startswith("\\") else chr(ord(found[0]) - 0xFEE0)


def _shown(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return "" if unicodedata.category(character) == "Cf" else " "


def _unpiled(found: re.Match[str]) -> str:
    marks, kept = 0, []
    for character in found[0]:
        marks = marks + 1 if unicodedata.category(character) in {"Mn", "Me"} else 0
        if marks <= _MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def _is_login(text: str) -> bool:
    """Whether this is base64 of ``USER:PASSWORD``."""
    try:
        said = base64.b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
    except ValueError:
        return False
    return ":" in said and said.isprintable()


def _is_phone(text: str) -> bool:
    """E.164: up to fifteen digits. Few of them in a row after a plus are a difference."""
    digits = sum(map(str.isdigit, text))
    return (8 if re.search(r"\d\W+\d", text) else 10) <= digits <= 15  # noqa: PLR2004


def _is_card(text: str) -> bool:
    """An issuer's prefix and length, and Luhn's check digit."""
    digits = "".join(filter(str.isdigit, text))
    if not _CARD_KIND.fullmatch(digits):
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def _is_iban(text: str) -> bool:
    """ISO 13616: as long as its country's; its head moved to its end, its letters as numbers, it is 1 modulo 97."""
    plain = re.sub("[ -]", "", text).upper()
    country = _IBAN_LENGTHS.find(f"{plain[:2]}{len(plain)}")
    return country % 4 == 0 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _where(is_so: Callable[[str], bool], kind: str) -> Callable[[re.Match[str]], str]:
    return lambda found: f"[redacted:{kind}]" if is_so(found[0]) else found[0]


_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (_KEY_BLOCK, "[redacted:private_key]"),
    (_KEY_IN_BASE64, "[redacted:private_key]"),
    (_JWT, "[redacted:jwt]"),
    (_WELL_KNOWN, "[redacted:api_key]"),
    (_HOOK, r"\1[redacted:webhook]"),
    (_SIGNATURE, r"\1[redacted:signature]"),
    (_IN_URL, lambda found: f"{found[1] or found[2]}[redacted:secret]"),
    (_USERINFO, "://[redacted:credentials]@"),
    (_ORACLE, r"\1[redacted:credentials]@"),
    (_HEADER, r"\1[redacted:secret]"),
    (_BEARER, r"\1\2[redacted:token]"),
    (_BASIC, lambda found: f"{found[1]}[redacted:token]" if _is_login(found[2]) else found[0]),
    (_PHRASE, r"\1[redacted:secret]"),
    (_NAMED, r"\1[redacted:secret]"),
    (_PAIR, r"\1[redacted:secret]"),
    (_FLAG, r"\1[redacted:secret]"),
    (_SAID, r"\1[redacted:secret]"),
    (_CALLED, r"\1[redacted:secret]"),
    (_GO_DSN, "[redacted:credentials]@"),
    (_MYSQL, r"\1[redacted:secret]"),
    (_LOGIN, r"\1[redacted:credentials]"),
    (_HASH, "[redacted:hash]"),
    (_ONE_TIME, r"\1[redacted:secret]"),
    (_EMAIL, "[redacted:email]"),
    (_SSN, "[redacted:ssn]"),
    (_PHONE_CALLED_SO, r"\1[redacted:phone]"),
    (_PHONE, _where(_is_phone, "phone")),
    (_CARD, _where(_is_card, "card")),
    (_IBAN, _where(_is_iban, "iban")),
)
