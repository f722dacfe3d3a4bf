"""The statements of `pipeline.sinks.outbox`."""

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('pulseguard.channel.' || $1, 0))"
PLACES = """
SELECT DISTINCT ON (decision_id) decision_id, channel, state = 'refused' AS refused FROM notifications
WHERE decision_id = ANY($1) ORDER BY decision_id, state = 'refused'
"""
REDIRECT_MESSAGES = """
UPDATE messages SET channel = $1
WHERE state = 'claimed' AND channel <> $1 AND (NOT $2 OR channel = ANY($3))
"""
# A decision that is in two places, as earlier releases could have it, stays where it is: one place takes it once.
REDIRECT_NOTIFICATIONS = """
UPDATE notifications AS stray SET channel = $1
WHERE state IN ('waiting', 'claimed') AND channel <> $1 AND (NOT $2 OR channel = ANY($3)) AND NOT EXISTS (
    SELECT FROM notifications WHERE decision_id = stray.decision_id AND channel <> stray.channel
)
"""
CHANNELS = """
SELECT channel FROM notifications WHERE state IN ('waiting', 'claimed')
UNION SELECT channel FROM messages
WHERE kind = 'head' AND state = 'sent' AND claimed_at > now() - interval '7 days'
  AND (channel = $1 OR ($2 AND channel <> ALL($3)))
"""
EPISODE = (
    "SELECT id, service, error_type, environment, severity, source, labels, state, began_at, ordinal FROM episodes"
)
TAKE = """
INSERT INTO notifications (
    decision_id, channel, situation_id, rank, kafka_partition, kafka_offset, key, body, again, state
)
SELECT *, 'waiting' FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::smallint[], $5::integer[], $6::bigint[], $7::bytea[], $8::bytea[],
    $9::boolean[]
)
ON CONFLICT (decision_id, channel) DO UPDATE
SET state = 'waiting', situation_id = excluded.situation_id, rank = excluded.rank,
    kafka_partition = excluded.kafka_partition, kafka_offset = excluded.kafka_offset, key = excluded.key,
    body = excluded.body, message_id = NULL, detail = NULL, finished_at = NULL, since = now()
WHERE (excluded.again AND notifications.state = 'refused')
   OR (notifications.state = 'claimed' AND notifications.message_id IS NULL) -- of a version that knew no messages
"""
# Locked, so that its owner finishes it before it is looked at, or after it was taken over.
CLAIMED = "SELECT * FROM messages WHERE channel = $1 AND state = 'claimed' ORDER BY claimed_at LIMIT 1 FOR UPDATE"
WAITING = """
SELECT decision_id AS id, body, since FROM notifications WHERE channel = $1 AND state = 'waiting'
ORDER BY rank DESC, since, decision_id LIMIT $2
"""
MUTE = """
UPDATE notifications SET state = 'muted', detail = muted.why, body = NULL, finished_at = now()
FROM unnest($2::text[], $3::text[]) AS muted (decision_id, why)
WHERE channel = $1 AND notifications.decision_id = muted.decision_id
"""
HUSH_MESSAGES = """
UPDATE messages SET state = 'refused', detail = 'shadow', finished_at = now() WHERE channel = $1 AND state = 'claimed'
"""
HUSH_NOTIFICATIONS = """
UPDATE notifications SET state = 'muted', body = NULL, finished_at = now(),
    detail = CASE state WHEN 'claimed' THEN 'shadow; may have been posted before' ELSE 'shadow' END
WHERE channel = $1 AND state IN ('waiting', 'claimed')
"""
LOG = "SELECT kind, claimed_at FROM messages WHERE channel = $1 AND claimed_at > now() - interval '1 hour'"
TOLD = """
SELECT notifications.situation_id, count(DISTINCT messages.id)::int AS messages, max(rank)::int AS worst,
    max(messages.claimed_at) AS last, (array_agg(messages.id ORDER BY messages.claimed_at))[1] AS head,
    (array_agg(messages.place ORDER BY messages.claimed_at))[1] AS place
FROM notifications JOIN messages ON messages.id = notifications.message_id
WHERE notifications.channel = $1 AND notifications.situation_id = ANY($2) AND notifications.state = 'sent'
GROUP BY 1
"""
# Of what was told in that channel: news elsewhere, or what Slack refused, puts off no reminder here.
STATE = """
SELECT bool_or(state IN ('open', 'escalated')) AS going_on,
    max(coalesce(array_position(ARRAY['info', 'warning', 'error', 'critical'], severity), 2)) - 1 AS worst,
    told.messages, told.last
FROM episodes, (
    SELECT count(*) AS messages, max(claimed_at) AS last FROM messages
    WHERE situation_id = wanted AND channel = asked AND kind <> 'edit' AND state <> 'refused'
) AS told
WHERE situation_id = wanted GROUP BY told.messages, told.last
"""
SITUATION = f"SELECT state.* FROM (VALUES ($1, $2)) AS given (wanted, asked), LATERAL ({STATE}) AS state"  # noqa: S608
HEADS = f"""
SELECT head.id AS message_id, head.wanted AS situation_id, head.place, head.shown, state.*, first.*
FROM (
    SELECT id, situation_id AS wanted, channel AS asked, place, shown FROM messages
    WHERE channel = $1 AND kind = 'head' AND state = 'sent' AND claimed_at > now() - interval '7 days'
    ORDER BY claimed_at DESC LIMIT 500
) AS head,
LATERAL ({STATE}) AS state,
LATERAL (
    SELECT service, error_type, environment, severity, source, labels FROM episodes
    WHERE situation_id = wanted ORDER BY ordinal + 0 LIMIT 1 -- not by its index: a young one is at its very end
) AS first
WHERE head.shown <> 'over' OR state.going_on
"""  # noqa: S608 - ours
HEAD_DECISION = """
SELECT decisions.id, decisions.published
FROM messages JOIN notifications ON message_id = messages.id JOIN decisions ON decisions.id = decision_id
WHERE messages.situation_id = $1 AND kind = 'head' AND messages.state = 'sent'
    AND messages.channel = $2 AND messages.place IS NOT DISTINCT FROM $3
ORDER BY rank DESC, decisions.created_at LIMIT 1
"""
CLAIM = """
INSERT INTO messages (id, channel, kind, situation_id, owner, place, state) VALUES ($1, $2, $3, $4, $5, $6, 'claimed')
"""
JOIN = """
UPDATE notifications SET state = 'claimed', message_id = $1 WHERE channel = $2 AND decision_id = ANY($3)
"""
TAKE_OVER = "UPDATE messages SET owner = $2, leased_at = clock_timestamp() WHERE id = $1"
RENEW = """
UPDATE messages SET leased_at = clock_timestamp() WHERE id = $1 AND owner = $2 AND state = 'claimed' RETURNING 1
"""
LETTERS = """
SELECT decision_id, coalesce(kafka_partition, 0), coalesce(kafka_offset, 0), key, body FROM notifications
WHERE message_id = $1 AND body IS NOT NULL ORDER BY kafka_partition, kafka_offset
"""
FINISH_MESSAGE = """
UPDATE messages SET state = $2, detail = $3, place = $4, shown = $5, finished_at = now() WHERE id = $1
"""
FINISH_NOTIFICATIONS = """
UPDATE notifications SET state = $2, detail = $3, body = NULL, finished_at = now() WHERE message_id = $1
"""
SHOW = "UPDATE messages SET shown = $2 WHERE place = $1 AND kind = 'head'"
ADD_SILENCE = """
INSERT INTO silences (id, matchers, starts_at, ends_at, author, comment) VALUES ($1, $2, $3, $4, $5, $6)
"""
SILENCE = "SELECT id, matchers, starts_at, ends_at, author, comment FROM silences"
SILENCES = f"{SILENCE} WHERE $1 OR ends_at > now() ORDER BY starts_at, id"
EXPIRE = "UPDATE silences SET ends_at = now() WHERE id = $1 AND ends_at > now() RETURNING 1"
