"""Secrets and personal data out of a text, before it leaves for a model. Pure, and linear in the text's length.

Every repetition below is bounded, or starts only where its own characters do not precede it.
"""

import re
import unicodedata

_ANSI = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Characters that count as printable and show nothing: messages are hidden in them."""

_SECRET = (
    r"pass(?:word|wd|phrase)|pwd|secret|token|credentials?|authorization"  # noqa: S105
    r"|(?:api|access|account|private|signing|encryption)[_-]?key"
)
_SECRET_NAME = re.compile(rf"(?:{_SECRET})$", re.IGNORECASE)
_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{5,}+\.[\w-]{5,}+(?:\.[\w-]*+)?", re.ASCII)
_WELL_KNOWN = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:AKIA|ASIA)[0-9A-Z]{16}|gh[opsur]_[A-Za-z0-9]{30,255}|github_pat_\w{22,255}|glpat-[\w-]{20,255}"
    r"|xox[a-z]-[\w-]{10,255}|xapp-[\w-]{10,255}|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,255}"
    r"|sk-(?=[A-Za-z_-]{0,60}\d)[\w-]{20,255}|AIza[\w-]{35}|ya29\.[\w-]{20,255}|npm_[A-Za-z0-9]{36}|pypi-[\w-]{50,255}"
    r"|SG\.[\w-]{16,64}\.[\w-]{16,64}|hf_[A-Za-z0-9]{30,64}|dop_v1_[a-f0-9]{64}|hv[sb]\.[\w-]{24,255}"
    r")",
    re.ASCII,
)
_HOOK = re.compile(r"(hooks\.slack\.com/(?:services|workflows|triggers)/)[\w/-]{8,255}", re.ASCII)
_USERINFO = re.compile(r"://[^\s/?#]{1,512}@")
_BEARER = re.compile(r"\b(bearer|basic)(\s{1,4})(?=[A-Za-z._~+/=-]{0,200}\d)[A-Za-z0-9._~+/=-]{8,}+", re.IGNORECASE)
_PAIR = re.compile(
    rf"""((?:{_SECRET})\\?["']?\s{{0,3}}[=:]\s{{0,3}})"""
    r"""(?!\[redacted|/|(?:expired|invalid|missing|null|none|true|false|incorrect|required|wrong|empty)\b)"""
    r"""("(?:[^"\\]|\\.){1,512}"|'[^'\n]{1,512}'|\\"[^"\\]{1,512}\\"|(?:(?:basic|bearer|token)\s{1,3})?[^\s,;&"'\\]{3,})""",
    re.IGNORECASE,
)
_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]++@(?:[A-Za-z0-9-]{1,63}\.){1,8}"
    r"(?!(?:service|socket|timer|mount|target|scope|slice|local|internal|svc)\b)[A-Za-z]{2,24}\b"
)
_CARD = re.compile(r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w.-])", re.ASCII)
_CARD_KIND = re.compile(r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|6(?:011|5\d\d)\d{12}")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)", re.ASCII)


def visible(text: str) -> str:
    """``text`` without terminal codes and what shows nothing (format, tag and bidi characters); controls are spaces."""
    text = _BLANK.sub("", _ANSI.sub("", text))
    if text.isprintable():
        return text
    return "".join(_shown(c) for c in text)


def redacted(text: str) -> str:
    """``text`` with ``[redacted:KIND]`` for each secret, e-mail address, card number and IBAN of a well-known form."""
    text = _KEY_BLOCK.sub("[redacted:private_key]", text)
    text = _JWT.sub("[redacted:jwt]", text)
    text = _WELL_KNOWN.sub("[redacted:api_key]", text)
    text = _HOOK.sub(r"\1[redacted:webhook]", text)
    text = _USERINFO.sub("://[redacted:credentials]@", text)
    text = _BEARER.sub(r"\1\2[redacted:token]", text)
    text = _PAIR.sub(r"\1[redacted:secret]", text)
    text = _EMAIL.sub("[redacted:email]", text)
    text = _CARD.sub(lambda found: "[redacted:card]" if _is_card(found.group()) else found.group(), text)
    return _IBAN.sub(lambda found: "[redacted:iban]" if _is_iban(found.group()) else found.group(), text)


def names_secret(name: str) -> bool:
    """Whether what is called so (a label, a parameter) is a secret whatever it looks like."""
    return bool(_SECRET_NAME.search(name))


def _shown(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return "" if unicodedata.category(character) == "Cf" else " "


def _is_card(text: str) -> bool:
    """An issuer's prefix and length, and Luhn's check digit."""
    digits = "".join(filter(str.isdigit, text))
    if not _CARD_KIND.fullmatch(digits):
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def _is_iban(text: str) -> bool:
    """ISO 13616: the number, its head moved to its end and its letters as numbers, is 1 modulo 97."""
    plain = text.replace(" ", "")
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1
