"""What secrets and personal data look like in a text, as patterns; `pipeline.redact` takes them out.

Every repetition is bounded, or starts only where its own characters do not precede it: linear in the text's length.
"""

import re

_PASSWORD = (
    r"pass(?:word|wd|[_-]?phrase|code|wort)|pwd"  # noqa: S105
    r"|kennwort|mot de passe|contrase[ñn]a|senha|пароль|密[码碼]|パスワード|비밀번호"
    r"|has[łl]o|heslo|wachtwoord|l[öo]senord|adgangskode|passord|salasana|jelsz[óo]|[şs]ifre|parola|m[ậa]t kh[ẩa]u"
    r"|kata sandi|κωδικός|كلمة (?:المرور|السر)|סיסמה|पासवर्ड|รหัสผ่าน|口令"
)
_KEY = r"(?:api|app|application|access|account|auth|secret|pre-?shared|shared|subscription|sas|licen[sc]e)[_ -]?key"
_SECRET = (
    rf"{_PASSWORD}|(?<!\d{{12}}:)secret"  # but not the kind in an ARN of AWS
    rf"|(?<!unexpected )token|credentials?|authorization|{_KEY}"
    r"|(?<![A-Za-z0-9])p(?:ass|w)(?=\W{0,8}+(?!\d+\b)\S|$)"  # but not in "12 pass, 3 fail" as metrics write it
    r"|(?:private|signing|encryption|master|session)[_-]?key"
    r"|(?:store|key)pass|\bpsk|令牌|geheimnis|zugangsdaten|jfrog-art-api|x-honeycomb-team|jenkins-crumb"
)
SECRET_NAME = re.compile(
    rf"(?:{_SECRET}|cookie|\bjwt|\bcreds|_creds|\bdsn|_dsn|connection[_-]?string)"
    r"(?:[_.-]?(?:value|base64|b64|hash|pem|old|new|prod|dev|v?\d{1,3})){0,2}$",
    re.IGNORECASE,
)
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
KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
KEY_IN_BASE64 = re.compile(r"LS0tLS1CRUdJTi(?:BSU0Eg|BQUklW|BFQyBQ|BPUEVO|BFTkNS|BEU0Eg|BQR1Ag)[\w+/=]*+", re.ASCII)
JWT = re.compile(
    r"(?<![\w-])(?:eyJ[\w-]{5,}+\.[\w-]{5,}+(?:\.[\w-]*+)?(?:\.[\w-]{10,}+){0,2}|v[1-4]\.(?:local|public)\.[\w-]{40,}+)",
    re.ASCII,
)
WELL_KNOWN = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    # clouds
    r"ABSK[A-Za-z0-9+/]{40,}={0,2}|bedrock-api-key-[\w+/]{20,}={0,2}|amzn\.mws\.[a-f0-9-]{36}|AKID[A-Za-z0-9]{32}"
    r"|1//0[\w-]{30,255}|AQ\.[\w-]{40,255}|v1\.0-[a-f0-9]{24}-[a-f0-9]{100,255}|HRKU-[\w-]{30,255}|AVNS_[\w-]{15,64}"
    r"|napi_[a-z0-9]{40,255}|pscale_[a-z]{2,8}_[\w.-]{32,255}|rnd_[A-Za-z0-9]{28}|cflt[A-Za-z0-9+/]{40,255}"
    r"|(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}|AIza[\w-]{35}|ya29\.[\w-]{20,255}|GOCSPX-[\w-]{20,255}"
    r"|[\w~.]{3}\dQ~[\w~.-]{31,34}|do[opr]_v1_[a-f0-9]{64}|dapi[a-f0-9]{32}|hv[sbr]\.[\w-]{24,255}"
    # code and packages
    r"|gh[opsur]_[A-Za-z0-9]{30,255}|github_pat_\w{22,255}"
    r"|gl(?:pat|ptt|dt|rt|cbt|soat|oas|ft|ffct|imt|wt|agent)-[\w-]{20,255}(?:\.[a-z0-9]{2}\.[a-z0-9]{9})?|GR1348941[\w-]{20}|AT[AC]TT3x[\w=-]{40,255}"
    r"|npm_[A-Za-z0-9]{36}|pypi-[\w-]{50,255}|rubygems_[a-f0-9]{48}|dckr_pat_[\w-]{20,255}"
    r"|ATBB[A-Za-z0-9]{28,40}|oy2[a-z0-9]{43}|CLOJARS_[a-z0-9]{60}|cio[A-Za-z0-9]{32}|(?:pnu_|rdme_)[a-z0-9]{36,70}"
    # chat, mail, payments
    r"|xox[a-z](?:\.xox[a-z])?-[\w-]{10,255}|xapp-[\w-]{10,255}|(?:bot)?\d{8,10}:AA[\w-]{33}"
    r"|SG\.[\w-]{16,64}\.[\w-]{16,64}|SK[a-f0-9]{32}|key-[a-f0-9]{32}"
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,255}|whsec_[A-Za-z0-9+/]{24,255}|shp[a-z]{2,4}_[a-f0-9]{32}"
    r"|[a-f0-9]{32}-us\d{1,2}|re_[A-Za-z0-9]{8}_[A-Za-z0-9]{20,24}|[a-z]{2,8}_\w{14,30}_secret_[A-Za-z0-9]{20,40}|pat-(?:na|eu|ap)\d-[a-f0-9-]{36}|sq0[a-z]{3}-[\w-]{22,43}"
    r"|EAA[A-Za-z0-9]{40,255}|A{21}[\w%]{40,255}|access_token\$\w{1,20}\$[a-z0-9]{16}\$[a-f0-9]{32}|rzp_[a-z]{4}_\w{14}"
    r"|u\+[\w-]{18}|dG9rO[\w+/]{40,255}=?|\d/\d{10,20}:[a-f0-9]{32}|pat[A-Za-z0-9]{14}\.[a-f0-9]{64}|pk_\d{6,12}_[A-Z0-9]{32}"
    r"|sl\.(?:u\.)?[\w-]{100,2000}|(?:shippo_)?(?:live|test)_[a-f0-9]{35,40}|FLWSECK(?:_TEST)?-[a-f0-9]{32}|EZ[AT]K\w{54}"
    r"|access-(?:sandbox|development|production)-[a-f0-9-]{36}|A3(?:-[A-Z0-9]{5,6}){6}"
    # models, monitoring, keys
    r"|sk-(?:(?:proj|svcacct|admin|ant|or)-[\w-]{20,255}|(?=[A-Za-z]{0,60}\d)[A-Za-z0-9]{20,255})"
    r"|hf_[A-Za-z0-9]{30,64}|gsk_[A-Za-z0-9]{40,255}|xai-[A-Za-z0-9]{60,255}|pplx-[A-Za-z0-9]{40,255}"
    r"|glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|glc_[\w+/=-]{32,255}|NRAK-[A-Z0-9]{27}|sntry[su]_[\w+/=-]{32,255}"
    r"|AGE-SECRET-KEY-1[0-9A-Z]{58}|dt0[a-z]\d\d\.[A-Z0-9]{24}\.[A-Z0-9]{64}|dp\.(?:pt|st|sa|ct)\.[A-Za-z0-9.]{40,255}"
    r"|PMAK-[a-f0-9]{24}-[a-f0-9]{34}|tskey-[a-z]{3,12}-[\w-]{20,255}|[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,255}"
    r"|(?:pul-|sbp_|bk[a-z]{2}_|sq[apu]_|lsv2_(?:pt|sk)_|CCIPAT_\w{1,30}_)[a-f0-9]{32,40}|x(?:keysib|smtpsib)-[a-f0-9]{64}-\w{16}"
    r"|sk-lf-[a-f0-9-]{36}|sk_[a-f0-9]{48}|key_[a-f0-9]{64}|fc-[a-f0-9]{32}|e2b_[a-f0-9]{40}|rpa_[A-Z0-9]{40,64}"
    r"|fw_[A-Za-z0-9]{24}|a[ks]-[A-Za-z0-9]{22}(?![\w-])|[a-fux0-9]{32,38}(?:FFFF)?NRAL|NR(?:IQ|II|JS|RA)-[\w-]{19,32}"
    r"|hc[a-z]ik_[a-z0-9]{58}|(?:sdk|mob)-[a-f0-9]{8}(?:-[a-f0-9]{4}){3}-[a-f0-9]{12}|eyJrIjoi[\w+/]{20,255}={0,2}"
    r"|s\.[A-Za-z0-9]{24}(?![\w.])|nsec1[a-z0-9]{58}|xprv[A-Za-z0-9]{100,112}|b3BlbnNzaC1rZXktdjEA[\w+/=]{40,}"
    r"|AKCp[A-Za-z0-9]{60,80}|cmVmdGtu[A-Za-z0-9]{50,60}|LTAI5t[A-Za-z0-9]{18}"
    r"|[MNO][A-Za-z0-9]{23,25}\.[\w-]{6}\.[\w-]{27,38}"
    # whoever makes it: a name, an underscore or dash, and what has small and capital letters and digits in a row
    r"|(?!sha\d)[A-Za-z][a-z0-9]{1,9}(?:[_-][a-z]{1,9}){0,3}[_-](?=[A-Z0-9]{0,40}[a-z])(?=[a-z0-9]{0,40}[A-Z])"
    r"(?=[A-Za-z]{0,40}\d{1,40}[A-Za-z]{1,40}\d)[A-Za-z0-9]{30,255}"
    r")",
    re.ASCII,
)
HOOK = re.compile(
    r"(hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks/\d{1,25}/"
    r"|webhook\.office\.com/webhookb2/|events\.pagerduty\.com/integration/|hooks\.zapier\.com/hooks/catch/"
    r"|alert\.victorops\.com/integrations/|(?<=[\w/])/hooks/(?=[a-z0-9]{26}\b))[\w/@-]{8,255}",
    re.ASCII,
)
SIGNATURE = re.compile(r"""([?&](?:sig|signature|x-(?:amz|goog)-signature)=)[^&\s"'<>]{16,}+""", re.IGNORECASE)
IN_URL = re.compile(
    r"([?&](?i:key|auth|code)=)(?=[A-Z\d]{0,40}[a-z])(?=[a-z\d]{0,40}[A-Z])(?=[A-Za-z]{0,40}\d)[\w%.~/+-]{24,}+"
    r"|((?i:phpsessid|jsessionid|sessionid|connect\.sid|saml(?:response|request))=)[\w%.~+/=-]{16,}+"
    r"|(\b[\w.-]{0,40}?(?i:session|sessid|_sid)=)[\w%.~+/=]{24,}+(?!-)"
    r"""|((?i:\b(?:routing|integration|service)[_-]?key|\bauth)["']?\s{0,3}[:=]\s{0,3}["']?)[a-f0-9]{32}\b""",
    re.ASCII,
)
"""A secret by its looks, where its name may as well be that of something else."""
USERINFO = re.compile(
    r"""://(?!git@)(?:[^\s/?#]{1,512}|[^\s/?#:@\[]{0,100}:(?!\d{1,5}[/?#])[^\s@"'<>]{1,200})@(?=[\w.\[-])"""
)
ORACLE = re.compile(r"(jdbc:oracle:\w{1,10}:)[^\s/@]{1,100}/[^\s@]{1,200}@")
HEADER = re.compile(
    r"""\b((?:set-)?cookie["']?:\s{0,3}(?=\S)|authorization["']?\s{0,3}[:=]\s{0,3}(?=(?:aws4|digest|signature|oauth|hawk|splunk|ssws|geniekey|ntlm|negotiate|kerberos|key|sharedkey(?:lite)?|mac|dpop|token)\b))"""
    r"""(?:(?<=:)[^\n"']{3,}+|[^\n]{3,}+)""",
    re.IGNORECASE,
)
BEARER = re.compile(
    r"\b(bearer|basic|(?:splunk|ssws|geniekey|ntlm|negotiate|dpop)(?=\s{1,4}\S{20}))(\s{1,4})"
    r"(?=[A-Za-z._~+/=-]{0,200}\d)[A-Za-z0-9._~+/=-]{8,}+",
    re.IGNORECASE,
)
BASIC = re.compile(r"""\b(basic\s{1,4}|_?auth["']?\s{0,3}[=:]\s{0,3}["']?)([A-Za-z0-9+/]{8,}+={0,2})""", re.IGNORECASE)
PAIR = re.compile(
    rf"""((?:{_SECRET})(?:s(?=\\?["']?\s{{0,3}}[:=]\s{{0,3}}\[\s{{0,40}}["']))?\\?["']?"""
    rf"""(?:(?: is)?\s{{0,3}}(?:=>?+|[:\uff1a](?::(?=\s))?=?+(?!\s{{0,3}}{_PROSE}))"""
    r"""(?:\s{0,60}(?=["'])|\s{0,3})|>)"""
    r"""(?:\{[^{}\n]{0,100}?\b(?:value|raw|plain\w{0,4}|current)\\?["']?\s{0,3}[:=]\s{0,3})?+"""
    r"""(?:(?<=\s)[!&][\w!]{1,20}\s{1,3}(?=\S)|(?:[bfru]{1,2}|N|@)(?=["']))?)"""
    rf"""(?!(?:[bfru]{{1,2}}|N|@)?["']?\[redacted|/|secret\s\\?"|{_STATE})"""
    r"""("{3}[^"]{1,2000}+"{0,3}|'{3}[^']{1,2000}+'{0,3}|`[^`\n]{1,500}+`?|\[\s{0,40}["'][^\]]{1,2000}+\]?"""
    r"""|[|>][+-]?\s{0,3}\n(?P<indent>[ \t]{1,40}+)[^\n]{1,500}(?:\n(?P=indent)[^\n]{0,500}){0,50}"""
    r"""|[A-Za-z_]{1,20}\(\s?["'][^"'\n]{1,500}+["']?\)?"""
    r"""|(?:"(?:[^"\\\n]|\\.)++"?|'(?:[^'\\\n]|\\.)++'?)(?:\s{0,3}[+.]\s{0,3}(?:"[^"\n]{1,500}"|'[^'\n]{1,500}')){0,20}"""
    r"""|\\"[^"\\]{1,512}\\["]"""
    r"""|[^\s;"'&=\\][^;"'&=\n]{0,63}(?=;\s?\w[\w ]{0,30}=)"""
    r"""|(?:(?:basic|bearer|token|apikey|negotiate)\s{1,3})?(?:[^\s,;&"'\\]|&(?!\w{1,8};|[\w.\[\]-]{1,64}=)|\\\n\s{0,20}){3,}+)""",
    re.IGNORECASE,
)
NAMED = re.compile(
    rf"""(\b(?:(?:name\\?["']?\s{{0,3}}[:=]\s{{0,3}}\\?["']?|key=["'])[\w.-]{{0,60}}?(?:{_SECRET})\\?["']?[\s,]{{1,20}}"""
    rf"""|(?:type|name|id)=["']?[\w.-]{{0,60}}?(?:{_SECRET})["']?\s(?:[^<>\n]{{0,100}}?\s)?)"""
    r"""\\?["']?value\\?["']?\s{0,3}[:=]\s{0,3})(?!\\?["']?\[redacted)"""
    r"""("(?:[^"\\\n]|\\.)++"?|'(?:[^'\\\n]|\\.)++'?|\\"[^"\\]{1,512}\\["]|[^\s,;}"'\\]++)""",
    re.IGNORECASE,
)
"""A variable of a container, or an entry of a settings file or form: its name in one field, its value in the next."""
ELEMENT = re.compile(
    rf"""(<(?:[\w:.-]{{0,60}}?(?:{_SECRET})\s[^<>]{{0,300}}>|key>[\w:.-]{{0,60}}?(?:{_SECRET})</key>\s{{0,40}}<string>"""
    rf"""|[\w:.-]{{0,60}}?(?:{_SECRET})>(?=<!))(?:<!\[CDATA\[)?)(?!\[redacted)[^<>\]]{{1,500}}+""",
    re.IGNORECASE,
)
FLAG = re.compile(
    rf"""((?<![^\s"'\[(,])--?[\w-]{{0,40}}?(?:{_SECRET})(?:\s{{1,3}}|["'],\s{{0,3}}["']|,\s{{0,3}}(?=[^\s,\]]{{0,40}}\d))"""
    r"""|--from-literal[ =]["']?[\w.-]{1,60}="""
    rf"""|\(\s?["'][\w.]{{0,60}}?(?:{_SECRET})["'],\s{{0,3}}(?=["']))"""
    rf"""(?!-|["']?\[redacted|{_STATE})("[^"\n]++"|'[^'\n]++'|[^\s"']++)""",
    re.IGNORECASE,
)
TYPED = re.compile(
    r"""\b(sshpass\s{1,3}-p\s{0,3}|redis-cli\b[^\n|;]{0,200}?\s-a\s{1,3}"""
    r"""|(?:mongo\w{0,5}|(?:docker|podman|az|registry)\s{1,3}login|cqlsh|rabbitmqadmin)\b[^\n|;]{0,200}?\s-p\s{1,3}"""
    r"""|ldap[a-z]{3,8}\b[^\n|;]{0,200}?\s-w\s{1,3}|(?:sqlcmd|(?:un)?zip)\b[^\n|;]{0,200}?\s(?-i:-P)\s{1,3}(?!\d+\b)"""
    r"""|(?:7za?|(?:un)?rar)\s[^\n|;]{0,200}?\s-h?p(?=\S)"""
    r"""|curl\b[^\n|;]{0,200}?\s(?:-b|--cookie)[ =]{1,3}(?=["']?[\w.-]{1,60}=)"""
    r"""|snmp\w{2,10}\b[^\n|;]{0,100}?\s-c\s{1,3}|snmp\w{0,3}[\s_-]community(?:[\s_-]string)?\s?[:=]\s{0,3}"""
    r"""|rabbitmqctl\s[^\n|;]{0,60}?(?:change_password|add_user|authenticate_user)\s{1,3}\S{1,60}\s{1,3}"""
    r"""|htpasswd\s{1,3}-\w{0,6}b\w{0,6}\s{1,3}\S{1,60}\s{1,3}\S{1,60}\s{1,3}"""
    r"""|(?-i:HELLO\s\d\sAUTH)\s\S{1,60}\s{1,3}|(?:requirepass|masterauth)\s{1,3}|acl\ssetuser\b[^\n]{0,100}?\s>"""
    rf"""|(?:kv|etcdctl)\s{{1,3}}put\s{{1,3}}(?=[\w./-]{{1,100}}\s)[\w./-]{{0,90}}?(?:{_SECRET})\s{{1,3}}"""
    r"""|set\spassword\b[^\n;=]{0,100}=\s{0,3}(?=["'])|connect\sto\s\S{1,60}\suser\s\S{1,60}\susing\s{1,3}(?=\D{0,60}\d)"""
    r"""|(?:create|alter)\suser\s\S{1,80}\sidentified\sby\s{1,3}|identified\s{1,3}by\s{1,3}(?=')"""
    r"""|(?:radius|tacacs)-server\s[^\n]{0,100}?key\s{1,3}|(?:password|secret|key)\s\d\s(?=[\dA-F]{8,}\b)"""
    r"""|login\s{1,3}\S{0,99}[^\s:;,.]\s{1,3}password\s{1,3}(?!(?:is|was|has|for|of|to|and|from|reset|change[ds]?)\b)"""
    rf"""|(?:{_PASSWORD}|psk)\s{{1,3}}(?=["']))"""
    rf"""(?!-|["']?\[redacted|{_STATE})("[^"\n]++"|'[^'\n]++'|[^\s"']++)""",
    re.IGNORECASE,
)
"""As an argument of programs that are known, and statements of databases and routers."""
PHRASE = re.compile(
    rf"""(\b(?:pass[ -]?phrase:|(?:seed|recovery)[ -]phrase(?:\sis|\s?[:=])|mnemonic(?:\sis|\s?[:=]))\s{{1,3}}["']?)"""
    rf"""(?![\[<{{`]|{_STATE}|{_PROSE})"""
    r"""[^\n,;."'&]{3,200}""",
    re.IGNORECASE,
)
"""Several words are one secret."""
SAID = re.compile(
    rf"""((?:(?P<word>{_PASSWORD}|\b(?-i:AUTH)(?:\sdefault)?)|{_KEY}|private[ _]key|token|secret)["'`*]{{0,3}}"""
    r"""(?:\s{1,3}(?:(?:(?:(?:was|is|has been)\s)?(?:(?:re)?set|changed|updated)\s)?to|is|was|are|[:=-]?>|→|\|)"""
    r"""\s{1,3}|\s{1,3}|\s?\()["'`*]{0,3})"""
    r"""(?!(?:sha|md|argon|pbkdf|blake|utf|base|aes|oauth|[rehp]s|ipv|http)[\d_]{1,5}[a-z]{0,2}\b|&)"""
    # A word with a letter and a digit; of tokens and keys a longer one, with two. Names of pods, hosts and files go on.
    r"""(?:(?(word)(?=[^\s\d]{0,40}\d)(?=[^\sA-Za-z]{0,40}[A-Za-z])[\w!#$%^&?+~@]{5,}+"""
    r"""|(?=[A-Za-z~+]{0,40}\d[A-Za-z~+]{0,40}\d)(?=[\d~+]{0,40}[A-Za-z])[A-Za-z0-9~+]{8,}+"""
    r"""))(?=[\s,;:)"'`*]|[.!?](?:\s|$)|$)""",
    re.IGNORECASE,
)
"""A secret in a sentence, by its looks: what is all letters cannot be told from a word."""
CALLED = re.compile(
    r"(\bcredentials?\s{1,3}(?:(?:are|is|of|for)\s)?[\w.@-]{1,64}:)(?=[^\s:\d]{0,40}\d)"
    r"""[^\s:,;"']{5,64}(?=[\s,;.)]|$)""",
    re.IGNORECASE,
)
GO_DSN = re.compile(r"(?<![\w.-])(?!redacted:)[\w.-]{1,64}:[^\s@:]{1,100}@(?=(?:tcp|udp|unix)\()")
MYSQL = re.compile(r"""(\b(?:mysql|mariadb)[^\n|;]{0,200}?\s-p)['"]?[^\s'"]++""")
LOGIN = re.compile(
    r"""((?:(?<!\S)(?:-[uU]|--(?:proxy-)?user)[ =]{1,3}|\bcurl\b[^\n|;]{0,200}?\s-u"""
    r"""|\bhttps?\s[^\n|;]{0,100}?-a\s{1,3})["']?)"""
    r"""(?!\d+:\d+)[^\s:"'\[]{1,200}:[^\s"']++|((?<!\S)-U\s{1,3}["']?[^\s%:"'\[]{1,60}%)[^\s"'\[]++"""
    r"""|(\bsqlplus\s[^\n|;/@]{1,100}/)[^\s@\[]++"""
)
PIPED = re.compile(
    r"""(\becho\s{1,3}(?:-n\s)?["']?)(?!\[redacted)[^\n|"']{1,200}?"""
    r"""(?=["']?\s{0,3}\|\s{0,3}(?:sudo\s-S|chpasswd|passwd|cryptsetup|gpg|[\w ]{1,40}--password-stdin))"""
)
INSERTED = re.compile(
    rf"""(\binsert\sinto\s[^()\n]{{1,100}}\((?=[^()]{{0,400}}?(?:{_SECRET})\b)[^()]{{1,800}}\)"""
    r"""\s{0,3}values\s{0,3}\()(?!\[redacted)[^()]{1,1000}""",
    re.IGNORECASE,
)
HASH = re.compile(
    r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{40,}+|\$(?:1|5|6|7|y|gy|apr1|sha1|scrypt|pbkdf2[\w-]{0,12}|krb5\w{2,8})\$"
    r"(?:[^\s$]{1,100}\$){1,3}[./+=A-Za-z0-9_-]{20,}+|\{(?:S?SHA\d{0,3}|S?MD5|CRYPT|PBKDF2[\w-]{0,10})\}[^\s\"']{20,}+"
    r"|(?<=')\*[A-F0-9]{40}(?=')|\bmd5[a-f0-9]{32}\b|\b[a-f0-9]{32}:[a-f0-9]{32}(?=:::)|\$argon2\w{1,2}\$[^\s:]{20,}+"
    r"|SCRAM-SHA-\d{1,3}\$\d{1,9}:[^\s\"']{40,}+|pbkdf2[_:]sha\d{1,3}[:$]\d{1,9}\$[^\s$]{1,60}\$[^\s\"']{20,}+"
    r"|scrypt:[\d:]{3,20}\$[^\s$]{1,60}\$[^\s\"']{20,}+"
)
ONE_TIME = re.compile(
    r"\b((?:otp|cvv2?|cvc2?|pin(?=\W{1,4}\d{4}| is \d{4}))(?:\s{0,3}[=:]\s{0,3}| is )|"
    r"(?:verification|one-time|security|2fa|mfa|sms)[ -](?:code|pin|password)(?:\s{0,3}[=:]\s{0,3}| is | (?=\d{4})))"
    r"\d{3,8}\b",
    re.IGNORECASE,
)
EMAIL = re.compile(
    r"(?<![\w.+%-])(?!git@)(?:(?:[\w.+-]|%(?!40))++|\"[^\"\n@]{1,64}\")(?:\\{0,2}@|\uff20|%40)"
    r"(?!v?\d{1,6}\.\d)(?:[\w-]{1,63}\.){1,8}"
    r"(?!(?:service|socket|timer|mount|target|scope|slice|local|internal|svc)\b)[^\W\d_]{2,24}\b"
    r"|(?<![\w.+-])[\w.+-]{1,64}+\s?(?:\[at\]|\(at\))\s?[\w-]{1,63}(?:\s?(?:\.|\[dot\]|\(dot\))\s?[\w-]{2,63}){1,5}"
)
SSN = re.compile(
    r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"
    r"|(?<=ssn: )\d{9}\b|(?<=ssn=)\d{9}\b|(?<=ssn )\d{9}\b",
    re.ASCII | re.IGNORECASE,
)
PHONE = re.compile(
    r"(?<![\w.+])\+(?!1[0-4][0-5]\d\b)[1-9]\d{0,2}(?:[ .-]?\(?\d{1,5}\)?){2,6}(?!\w|[.:-]\d)"
    r"|(?<![\w-])(?:\([2-9]\d\d\) ?|[2-9]\d\d-)[2-9]\d\d-\d{4}(?![\w-])",
    re.ASCII,
)
PHONE_CALLED_SO = re.compile(
    r"""\b((?:tel|telephone|phone|mobile|fax|msisdn)(?:[ _-]?(?:no|number))?["']?\s{0,3}[:=.]\s{0,3}["']?|wa\.me/)"""
    r"""(?!\d{4}-\d\d-\d\d|\d{1,3}(?:\.\d{1,3}){3})\+?\d[\d ()/.-]{5,20}\d\b""",
    re.IGNORECASE,
)
CARD = re.compile(
    r"(?:(?<![\w-])(?<!\d\.)|(?<=%B))(?:(?:\d[ /_-]{0,2}){12,18}\d|\d{4}(?:\.\d{4}){3})(?!\w|[.-]\w)", re.ASCII
)
CARD_KIND = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|6(?:011|2\d\d|5\d\d)\d{12}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}"
)
IBAN = re.compile(
    r"(?<!\w)(?:[A-Z]{2}\d{2}(?:[ .-]?[A-Z0-9]{4}){2,7}(?:[ .-]?[A-Z0-9]{1,3})?|[a-z]{2}\d{2}[a-z0-9]{11,30})(?!\w)",
    re.ASCII,
)
NATIONAL = re.compile(
    r"(\b(?:(?-i:NINO|NHS|NIR|DNI|NIE|NIF|PAN|SIN|TFN|BSN|AHV|CURP|CPF|CNPJ|PESEL|NRIC|SSN)"
    r"|national insurance|codice fiscale|steuer-?id(?:nr)?|aadhaar|personnummer|passport|reisepass|my number)"
    r"(?: (?:no\.?|number|nr\.?))?|身份证(?:号码?)?|주민등록번호|マイナンバー)(\s?[:=#]?\s?)"
    r"(?-i:[A-Z0-9](?:[ ./\u2010-]?[A-Z0-9]){6,20})(?!\w)",
    re.IGNORECASE,
)
"""A person's number, where it is called one."""
OPAQUE = re.compile(
    r"(?<![A-Za-z0-9+/=_-])(?<!sha1[:-])(?<!sha256[:-])(?<!sha384[:-])(?<!sha512[:-])(?!_{0,2}Z[A-Z]|sha\d{1,3}-)"
    r"[A-Za-z0-9+/_-]{20,}+={0,2}|(?<![\w-])(?:[2-7][0-9a-f]){12,}+(?!\w)",
    re.IGNORECASE,
)
"""What may be a key that nobody calls one, or hide another text."""
