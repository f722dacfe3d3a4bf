"""Secrets and personal data out of a text, before it leaves for a model. Pure, and linear in the text's length.

What they look like is in `pipeline.leaks`.
"""

import base64
import html
import re
import unicodedata
from collections.abc import Callable

from pipeline import leaks

_ANSI = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u2d7f\u3164\uffa0\ufe00-\ufe0f\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)
"""Characters that count as printable and show nothing: messages are hidden in them."""
_BEYOND_LATIN = re.compile("[^\0-\u02ff]{5,}")
_MOST_MARKS = 4
"""On one letter: more than any language has. Piled up, they cover the lines above and below."""
_FEWEST_DIGITS = 4
"""Of what is a person's number."""
_LONG, _LONGER, _GROUPS = 32, 40, 3
"""Characters of a key in letters of both cases, and of one; groups of digits in it."""
_WORD = re.compile("[A-Za-z][a-z]{3,}")
_HEX = re.compile("(?:[0-9a-fA-F]{2}){1,4000}")
_URL_SAFE = str.maketrans("-_", "+/")
_LIKE_LATIN = dict(zip("асеорхуіѕјο", "aceopxyisjo", strict=True))  # noqa: RUF001
_CODED = re.compile(
    r"(?:\\{1,8}u00|\\{1,8}u\{0{0,4}|\\{1,8}x|%|&#x)([2-6][0-9a-f]|7[0-9a-e])[;}]?|&#(3[2-9]|[4-9]\d|1[01]\d|12[0-6]);"
    r"""|&(lt|gt|quot|apos|amp);|\\{1,8}(0[4-7][0-7]|1[0-7][0-7])(?!\d)|(?<!\\)\\++(?=["'/])|([\uff01-\uff5e])"""
    r"|([\u0660-\u0669\u06f0-\u06f9\u0966-\u096f])|[\u2010-\u2015\u2212" + "".join(_LIKE_LATIN) + "]",
    re.IGNORECASE,
)
"""A character as JSON, an address, HTML or a shell may write it, and as other alphabets do."""
_WRAPPED = re.compile(r"(?<=[\w+/.=-]{8})\\?\r?\n[ \t>|]{0,8}(?=[\w+/.=-]{8})")
"""The end of a line within what may be one word, as a narrow terminal writes it."""
_NESTED = 3
"""How often one may be written so: JSON in JSON, an address in an address; and how often a text is looked at."""
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
    US write them, card numbers, IBANs, US social security numbers, and other countries' where they are called so.
    Names, ids and IP addresses stay. A text that hides one in the escapes of JSON, of an address or of HTML is returned
    without these escapes, and one whose keys go on in the next line without the ends of such lines.
    """
    for _ in range(_NESTED):
        found = _once(text)
        if found == text:
            break
        text = found  # what is gone may have stood before what is then seen
    return text


def names_secret(name: str) -> bool:
    """Whether what is called so (a label, a parameter) is a secret whatever it looks like."""
    return bool(leaks.SECRET_NAME.search(name))


def _once(text: str) -> str:
    text = _hidden(text)
    joined = _WRAPPED.sub("", text)
    if joined != text and any(pattern.search(joined) for pattern in (leaks.JWT, leaks.WELL_KNOWN)):
        text = _hidden(joined)
    plain = text
    for _ in range(_NESTED):
        plain = _CODED.sub(_decoded, plain)
    found = _hidden(plain) if plain != text else plain
    return text if found == plain else found


def _hidden(text: str) -> str:
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text


def _decoded(found: re.Match[str]) -> str:
    """The character that is spelled out; nothing for backslashes before what they escape."""
    by_hex, by_number, by_name, by_octal, wide, digit = found.groups()
    if by_hex or by_number or by_octal:
        return chr(int(by_hex, 16) if by_hex else int(by_number) if by_number else int(by_octal, 8))
    if by_name:
        return html.unescape(f"&{by_name};")
    if wide:
        return chr(ord(wide) - 0xFEE0)
    if digit:
        return str(unicodedata.digit(digit))
    return "" if found[0].startswith("\\") else _LIKE_LATIN.get(found[0].lower(), "-")


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


def _is_opaque(text: str) -> bool:
    """Whether it is base64 or hexadecimal of a text that holds a secret, or made by chance, as keys are.

    Ids and hashes are shorter, or have letters of one kind, up to f; what is named by people is mostly words.
    """
    said = _said(text)
    if said is not None:
        return _hidden(said) != said
    parts = re.split("[-_/+]", text.rstrip("="))
    longest, all_of_it = max(parts, key=len), "".join(parts)
    if len(longest) >= _LONGER and len(re.findall(r"\d+", longest)) > _GROUPS < len(re.findall("[g-zG-Z]", longest)):
        return True
    return (
        len(all_of_it) >= max(_LONG, len(parts) * 8)
        and min(len(re.findall(kind, all_of_it)) for kind in (r"\d+", "[a-z]", "[A-Z]")) >= _GROUPS
        and len(_WORD.sub("", all_of_it)) * 2 >= len(all_of_it)
    )


def _said(text: str) -> str | None:
    """What it says in hexadecimal or base64, where that is a text."""
    bare = text.rstrip("=")
    try:
        raw = (
            bytes.fromhex(bare)
            if _HEX.fullmatch(bare)
            else base64.b64decode(bare.translate(_URL_SAFE) + "=" * (-len(bare) % 4))
        )
        said = raw.decode()
    except ValueError:
        return None
    return said if all(c.isprintable() or c in "\r\n\t" for c in said) else None


def _is_phone(text: str) -> bool:
    """E.164: up to fifteen digits. Few of them in a row after a plus are a difference."""
    digits = sum(map(str.isdigit, text))
    return (8 if re.search(r"\d\W+\d", text) else 10) <= digits <= 15  # noqa: PLR2004


def _is_card(text: str) -> bool:
    """An issuer's prefix and length, and Luhn's check digit."""
    digits = "".join(filter(str.isdigit, text))
    if not leaks.CARD_KIND.fullmatch(digits):
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def _is_iban(text: str) -> bool:
    """ISO 13616: as long as its country's; its head moved to its end, its letters as numbers, it is 1 modulo 97."""
    plain = re.sub("[ .-]", "", text).upper()
    country = _IBAN_LENGTHS.find(f"{plain[:2]}{len(plain)}")
    return country % 4 == 0 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _national(found: re.Match[str]) -> str:
    digits = sum(c.isdigit() for c in found[0][len(found[1]) :])
    return f"{found[1]}{found[2]}[redacted:id]" if digits >= _FEWEST_DIGITS else found[0]


def _where(is_so: Callable[[str], bool], kind: str) -> Callable[[re.Match[str]], str]:
    return lambda found: f"[redacted:{kind}]" if is_so(found[0]) else found[0]


_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (leaks.KEY_BLOCK, "[redacted:private_key]"),
    (leaks.KEY_IN_BASE64, "[redacted:private_key]"),
    (leaks.JWT, "[redacted:jwt]"),
    (leaks.WELL_KNOWN, "[redacted:api_key]"),
    (leaks.HOOK, r"\1[redacted:webhook]"),
    (leaks.SIGNATURE, r"\1[redacted:signature]"),
    (leaks.IN_URL, lambda found: f"{found[1] or found[2] or found[3] or found[4]}[redacted:secret]"),
    (leaks.USERINFO, "://[redacted:credentials]@"),
    (leaks.ORACLE, r"\1[redacted:credentials]@"),
    (leaks.HEADER, r"\1[redacted:secret]"),
    (leaks.BEARER, r"\1\2[redacted:token]"),
    (leaks.BASIC, lambda found: f"{found[1]}[redacted:token]" if _is_login(found[2]) else found[0]),
    (leaks.PHRASE, r"\1[redacted:secret]"),
    (leaks.NAMED, r"\1[redacted:secret]"),
    (leaks.ELEMENT, r"\1[redacted:secret]"),
    (leaks.INSERTED, r"\1[redacted:secret]"),
    (leaks.PIPED, r"\1[redacted:secret]"),
    (leaks.PAIR, r"\1[redacted:secret]"),
    (leaks.FLAG, r"\1[redacted:secret]"),
    (leaks.TYPED, r"\1[redacted:secret]"),
    (leaks.SAID, r"\1[redacted:secret]"),
    (leaks.CALLED, r"\1[redacted:secret]"),
    (leaks.GO_DSN, "[redacted:credentials]@"),
    (leaks.MYSQL, r"\1[redacted:secret]"),
    (leaks.LOGIN, lambda found: f"{found[1] or found[2] or found[3]}[redacted:credentials]"),
    (leaks.HASH, "[redacted:hash]"),
    (leaks.ONE_TIME, r"\1[redacted:secret]"),
    (leaks.EMAIL, "[redacted:email]"),
    (leaks.SSN, "[redacted:ssn]"),
    (leaks.PHONE_CALLED_SO, r"\1[redacted:phone]"),
    (leaks.PHONE, _where(_is_phone, "phone")),
    (leaks.CARD, _where(_is_card, "card")),
    (leaks.IBAN, _where(_is_iban, "iban")),
    (leaks.NATIONAL, _national),
    (leaks.OPAQUE, _where(_is_opaque, "secret")),
)
