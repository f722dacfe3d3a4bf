"""Amazon CloudWatch's alarms, through an SNS topic over HTTPS.

https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html

A notification holds the alarm's JSON as text; with raw message delivery the alarm comes alone. The signature is not
checked: that would need RSA, and a certificate from the network. A subscription is a human's to confirm.
"""

import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote

import msgspec
import structlog

from pipeline.alerts import anomaly_of, name_of, read_as, time_of
from pipeline.errors import Rejected
from schemas import Anomaly, Metric

log = structlog.get_logger()


class Message(msgspec.Struct, frozen=True, rename="pascal"):
    """What SNS sends. Without a type it is the alarm itself."""

    type: Literal["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"] | None = None
    message: str = ""
    topic_arn: str = ""
    token: str = ""
    subscribe_url: str = msgspec.field(default="", name="SubscribeURL")


class Dimension(msgspec.Struct, frozen=True):
    """What tells one series of a metric from another."""

    name: str | None = None
    value: str | None = None


class Trigger(msgspec.Struct, frozen=True, rename="pascal"):
    """The metric of an alarm; one of metric mathematics names none here."""

    metric_name: str | None = None
    namespace: str | None = None
    unit: str | None = None
    dimensions: Sequence[Dimension] | None = None


class Alarm(msgspec.Struct, frozen=True, rename="pascal"):
    """An alarm that changed its state. A composite alarm has no trigger."""

    alarm_name: str
    new_state_value: Literal["ALARM", "OK", "INSUFFICIENT_DATA"]
    alarm_arn: str | None = None
    alarm_description: str | None = None
    new_state_reason: str | None = None
    state_change_time: str | None = None
    region: str | None = None
    account: str | None = msgspec.field(default=None, name="AWSAccountId")
    trigger: Trigger | None = None


_SERVICE = (
    "ServiceName", "Service", "FunctionName", "DBClusterIdentifier", "DBInstanceIdentifier", "CacheClusterId",
    "QueueName", "TopicName", "StreamName", "TableName", "ApiName", "LoadBalancer", "AutoScalingGroupName",
    "ClusterName", "InstanceId",
)  # fmt: skip
"""Dimensions that name what an alarm is about, the first one that is there."""
_ARN = re.compile(r"arn:aws:cloudwatch:([a-z0-9-]{1,32}):\d{12}:alarm:.+", re.DOTALL)
_VALUE = re.compile(r"\d datapoints? \[?\(?(-?\d{1,30}(?:\.\d{1,30})?(?:E-?\d{1,3})?)(?: \([^)]*\))?[\])]")
_URL = re.compile(r"https://(sns\.[a-z0-9-]{1,32}\.amazonaws\.com(?:\.cn)?)/.*")
_TOPIC = re.compile(r"arn:aws[a-z-]{0,16}:sns:[a-z0-9-]{1,32}:\d{12}:[\w.-]{1,256}", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9]{1,1024}")


def read(body: bytes) -> list[Anomaly]:
    """The anomaly; none for SNS's own messages. Raises `Rejected`."""
    message = read_as(Message, body, "CloudWatch")
    if message.type in {None, "Notification"}:
        text = body if message.type is None else message.message.encode("utf-8", "replace")
        return [_told(read_as(Alarm, text, "CloudWatch"))]
    _tell(message)
    return []


def _tell(message: Message) -> None:
    """A subscription is for a human to confirm: whoever finds this address can ask for one to a topic of their own."""
    url = _URL.fullmatch(message.subscribe_url)
    if url is None or not (_TOPIC.fullmatch(message.topic_arn) and _TOKEN.fullmatch(message.token)):
        raise Rejected("not a notification of CloudWatch: TopicArn, Token or SubscribeURL is not one of Amazon's")
    log.warning("sns_subscription", message=message.type, topic=message.topic_arn, host=url[1], token=message.token)


def _told(alarm: Alarm) -> Anomaly:
    trigger = alarm.trigger or Trigger()
    dimensions = {one.name: one.value or "" for one in trigger.dimensions or () if one.name}
    service = next((dimensions[name] for name in _SERVICE if dimensions.get(name)), "")
    arn = _ARN.fullmatch(alarm.alarm_arn or "")
    region = arn[1] if arn else alarm.region or ""
    own = {"region": region, "account": alarm.account or "", "metric_namespace": trigger.namespace or ""}
    value = _VALUE.search(alarm.new_state_reason or "")
    fault = [alarm.alarm_arn] if alarm.alarm_arn else [alarm.account or "", region, alarm.alarm_name]
    when = alarm.state_change_time
    console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#alarmsV2:alarm/"
    return anomaly_of(
        dimensions | {name: text for name, text in own.items() if text} |
        {"alertname": alarm.alarm_name} | ({"service": service} if service else {}),
        {"summary": alarm.alarm_description or "", "description": alarm.new_state_reason or ""},
        status="resolved" if alarm.new_state_value == "OK" else "firing",
        occurred_at=time_of(when),
        name=name_of("cloudwatch", *fault, when, alarm.new_state_value) if when else None,
        source="cloudwatch",
        link=console + quote(alarm.alarm_name.encode("utf-8", "replace"), safe="") if arn else None,
        metric=Metric(trigger.metric_name, float(value[1]) if value else None, unit=trigger.unit)
        if trigger.metric_name else None,
        fingerprint=name_of("cloudwatch", *fault),
    )  # fmt: skip
