CREATE UNIQUE INDEX api_key_name_once ON api_keys (name) WHERE revoked_at IS NULL;

CREATE INDEX attempts_by_reference ON attempts (reference);

CREATE INDEX attempts_by_start ON attempts (started_at);

CREATE INDEX deposits_by_reference ON deposits (reference);

CREATE INDEX deposits_by_time ON deposits (created_at);

CREATE INDEX deposits_with_problems ON deposits (created_at) WHERE problem IS NOT NULL AND acknowledged_at IS NULL;

CREATE UNIQUE INDEX funding_reference_once ON transactions (user_id, source, reference) WHERE reference IS NOT NULL;

CREATE INDEX outbox_messages_by_id ON outbox_messages (message_id);

CREATE INDEX outbox_messages_by_time ON outbox_messages (at);

CREATE INDEX outbox_messages_due ON outbox_messages (channel, next_attempt_at) WHERE next_attempt_at IS NOT NULL;

CREATE INDEX outbox_messages_failed ON outbox_messages (at) WHERE final_status = 'gave_up' OR final_status IS NULL AND attempt_count > 0;

CREATE INDEX transactions_by_id ON transactions (transaction_id);

CREATE INDEX transactions_by_key ON transactions ("key");

CREATE INDEX transactions_by_meter ON transactions (meter, user_id, created_at);

CREATE INDEX transactions_by_reference ON transactions (reference) WHERE reference IS NOT NULL;

CREATE INDEX transactions_by_token ON transactions (token) WHERE token IS NOT NULL;

CREATE INDEX transactions_due ON transactions (next_check_at) WHERE next_check_at IS NOT NULL;

CREATE INDEX transactions_leased ON transactions (lease_until) WHERE lease_until IS NOT NULL;

CREATE INDEX transactions_open ON transactions (user_id, status) WHERE (status NOT IN ('completed', 'reversed'));

CREATE INDEX transactions_reversed ON transactions (transaction_id) WHERE status = 'reversed';

CREATE INDEX transactions_with_incidents ON transactions (transaction_id) WHERE open_incidents > 0;

CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE api_keys (
	key_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	scopes TEXT NOT NULL, 
	created_at VARCHAR NOT NULL, 
	revoked_at VARCHAR, 
	last_used_at VARCHAR, 
	PRIMARY KEY (key_id)
);

CREATE TABLE attempts (
	user_id TEXT NOT NULL, 
	transaction_id TEXT NOT NULL, 
	attempt SMALLINT NOT NULL, 
	reference TEXT NOT NULL, 
	provider TEXT NOT NULL, 
	account TEXT NOT NULL, 
	started_at VARCHAR NOT NULL, 
	send_before VARCHAR NOT NULL, 
	valid_until VARCHAR, 
	sends SMALLINT NOT NULL, 
	requeries BIGINT NOT NULL, 
	answers TEXT NOT NULL, 
	PRIMARY KEY (user_id, transaction_id, attempt), 
	CONSTRAINT reference_once UNIQUE (user_id, provider, account, reference), 
	CONSTRAINT attempt_of_payment FOREIGN KEY(user_id, transaction_id) REFERENCES transactions (user_id, transaction_id)
);

CREATE TABLE commands (
	user_id TEXT NOT NULL, 
	operation TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	request_hash TEXT NOT NULL, 
	transaction_id TEXT NOT NULL, 
	result TEXT NOT NULL, 
	at VARCHAR NOT NULL, 
	PRIMARY KEY (user_id, operation, "key")
)
 WITHOUT ROWID;

CREATE TABLE delivery_attempts (
	user_id TEXT NOT NULL, 
	message_id TEXT NOT NULL, 
	number SMALLINT NOT NULL, 
	at VARCHAR NOT NULL, 
	target TEXT NOT NULL, 
	http_status SMALLINT, 
	latency_ms BIGINT NOT NULL, 
	detail TEXT NOT NULL, 
	PRIMARY KEY (user_id, message_id, number)
);

CREATE TABLE deposits (
	user_id TEXT NOT NULL, 
	reference TEXT NOT NULL, 
	"key" TEXT, 
	source TEXT NOT NULL, 
	amount_minor BIGINT NOT NULL, 
	currency TEXT NOT NULL, 
	email TEXT NOT NULL, 
	authorization_url TEXT, 
	created_at VARCHAR NOT NULL, 
	problem TEXT, 
	acknowledged_at VARCHAR, 
	email_may_get_tokens SMALLINT NOT NULL, 
	PRIMARY KEY (user_id, reference), 
	CONSTRAINT deposit_key_once UNIQUE (user_id, "key"), 
	CONSTRAINT deposit_amount CHECK (amount_minor > 0)
);

CREATE TABLE disabled_endpoints (
	endpoint TEXT NOT NULL, 
	target TEXT NOT NULL, 
	disabled_at VARCHAR NOT NULL, 
	reason TEXT NOT NULL, 
	PRIMARY KEY (endpoint)
);

CREATE TABLE environment (
	id SMALLINT NOT NULL, 
	mode TEXT NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_environment CHECK (id = 1), 
	CONSTRAINT environment_mode CHECK (mode IN ('test', 'live'))
);

CREATE TABLE events (
	user_id TEXT NOT NULL, 
	stream TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	type TEXT NOT NULL, 
	at VARCHAR NOT NULL, 
	command_key TEXT NOT NULL, 
	data TEXT NOT NULL, 
	prev_seq BIGINT, 
	prev_hash TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	PRIMARY KEY (user_id, stream, seq), 
	CONSTRAINT event_follows_event FOREIGN KEY(user_id, stream, prev_seq) REFERENCES events (user_id, stream, seq), 
	CONSTRAINT event_without_gap CHECK ((seq = 1 AND prev_seq IS NULL AND prev_hash = '') OR (seq > 1 AND prev_seq IS NOT NULL AND prev_seq = seq - 1))
)
 WITHOUT ROWID;

CREATE TABLE outbox_messages (
	user_id TEXT NOT NULL, 
	stream TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	channel TEXT NOT NULL, 
	message_id TEXT NOT NULL, 
	transaction_id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	data TEXT NOT NULL, 
	at VARCHAR NOT NULL, 
	next_attempt_at VARCHAR, 
	lease_until VARCHAR, 
	attempt_count SMALLINT NOT NULL, 
	final_status TEXT, 
	ended_at VARCHAR, 
	PRIMARY KEY (user_id, stream, seq, channel), 
	CONSTRAINT message_of_event FOREIGN KEY(user_id, stream, seq) REFERENCES events (user_id, stream, seq), 
	CONSTRAINT notification_status CHECK (final_status IS NULL OR final_status IN ('delivered', 'gave_up', 'skipped')), 
	CONSTRAINT message_is_due_or_ended CHECK ((final_status IS NULL) = (next_attempt_at IS NOT NULL))
);

CREATE TABLE provider_accounts (
	provider TEXT NOT NULL, 
	account TEXT NOT NULL, 
	suspended_reason TEXT, 
	suspended_at VARCHAR, 
	not_found_ignored SMALLINT NOT NULL, 
	float_minor BIGINT, 
	float_checked_at VARCHAR, 
	PRIMARY KEY (provider, account)
);

CREATE TABLE resolutions (
	user_id TEXT NOT NULL, 
	transaction_id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	proof TEXT, 
	reason TEXT, 
	at VARCHAR NOT NULL, 
	PRIMARY KEY (user_id, transaction_id), 
	CONSTRAINT resolution_of_payment FOREIGN KEY(user_id, transaction_id) REFERENCES transactions (user_id, transaction_id), 
	CONSTRAINT reversal_has_proof CHECK ((kind = 'completed' AND proof IS NULL) OR (kind = 'reversed' AND proof IS NOT NULL AND proof IN ('declined', 'not_sent', 'not_executed', 'not_found', 'provider_reversed', 'operator')))
)
 WITHOUT ROWID;

CREATE TABLE transactions (
	user_id TEXT NOT NULL, 
	transaction_id TEXT NOT NULL, 
	type TEXT NOT NULL, 
	status TEXT NOT NULL, 
	amount_minor BIGINT NOT NULL, 
	currency TEXT NOT NULL, 
	"key" TEXT, 
	created_at VARCHAR NOT NULL, 
	updated_at VARCHAR NOT NULL, 
	source TEXT, 
	reference TEXT, 
	meter TEXT, 
	biller TEXT, 
	vend_type TEXT, 
	phone TEXT, 
	provider TEXT, 
	token TEXT, 
	units TEXT, 
	lease_until VARCHAR, 
	seq BIGINT, 
	hash TEXT, 
	next_check_at VARCHAR, 
	last_hint_at VARCHAR, 
	account TEXT, 
	open_incidents SMALLINT DEFAULT '0' NOT NULL, 
	PRIMARY KEY (user_id, transaction_id), 
	CONSTRAINT transaction_type CHECK (type IN ('funding', 'payment')), 
	CONSTRAINT transaction_status CHECK (status IN ('pending', 'processing', 'in_doubt', 'in_review', 'completed', 'reversing', 'reversed')), 
	CONSTRAINT transaction_amount CHECK (amount_minor > 0), 
	CONSTRAINT payment_has_meter_and_seq CHECK (type = 'funding' OR (meter IS NOT NULL AND seq IS NOT NULL)), 
	CONSTRAINT funding_has_reference CHECK (type = 'payment' OR reference IS NOT NULL)
);

CREATE TABLE transfers (
	user_id TEXT NOT NULL, 
	stream TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	leg SMALLINT NOT NULL, 
	transaction_id TEXT NOT NULL, 
	source TEXT NOT NULL, 
	target TEXT NOT NULL, 
	amount_minor BIGINT NOT NULL, 
	currency TEXT NOT NULL, 
	at VARCHAR NOT NULL, 
	PRIMARY KEY (user_id, stream, seq, leg), 
	CONSTRAINT transfer_of_event FOREIGN KEY(user_id, stream, seq) REFERENCES events (user_id, stream, seq), 
	CONSTRAINT transfer_amount CHECK (amount_minor > 0), 
	CONSTRAINT transfer_between_accounts CHECK (source <> target)
)
 WITHOUT ROWID;

CREATE TABLE wallet_emails (
	user_id TEXT NOT NULL, 
	email TEXT NOT NULL, 
	set_at VARCHAR NOT NULL, 
	PRIMARY KEY (user_id)
);

CREATE TABLE wallets (
	user_id TEXT NOT NULL, 
	currency TEXT NOT NULL, 
	balance_minor BIGINT NOT NULL, 
	seq BIGINT NOT NULL, 
	hash TEXT NOT NULL, 
	updated_at VARCHAR NOT NULL, 
	PRIMARY KEY (user_id, currency), 
	CONSTRAINT wallet_never_negative CHECK (balance_minor >= 0)
);

CREATE TRIGGER commands_no_delete BEFORE DELETE ON commands BEGIN SELECT RAISE(ABORT, 'commands is append-only: DELETE is refused'); END;

CREATE TRIGGER commands_no_replace BEFORE INSERT ON commands WHEN EXISTS (SELECT 1 FROM commands WHERE user_id = NEW.user_id AND operation = NEW.operation AND key = NEW.key) BEGIN SELECT RAISE(ABORT, 'UNIQUE constraint failed: commands is append-only'); END;

CREATE TRIGGER commands_no_update BEFORE UPDATE ON commands BEGIN SELECT RAISE(ABORT, 'commands is append-only: UPDATE is refused'); END;

CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events is append-only: DELETE is refused'); END;

CREATE TRIGGER events_no_replace BEFORE INSERT ON events WHEN EXISTS (SELECT 1 FROM events WHERE user_id = NEW.user_id AND stream = NEW.stream AND seq = NEW.seq) BEGIN SELECT RAISE(ABORT, 'UNIQUE constraint failed: events is append-only'); END;

CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events is append-only: UPDATE is refused'); END;

CREATE TRIGGER resolutions_no_delete BEFORE DELETE ON resolutions BEGIN SELECT RAISE(ABORT, 'resolutions is append-only: DELETE is refused'); END;

CREATE TRIGGER resolutions_no_replace BEFORE INSERT ON resolutions WHEN EXISTS (SELECT 1 FROM resolutions WHERE user_id = NEW.user_id AND transaction_id = NEW.transaction_id) BEGIN SELECT RAISE(ABORT, 'UNIQUE constraint failed: resolutions is append-only'); END;

CREATE TRIGGER resolutions_no_update BEFORE UPDATE ON resolutions BEGIN SELECT RAISE(ABORT, 'resolutions is append-only: UPDATE is refused'); END;

CREATE TRIGGER transfers_no_delete BEFORE DELETE ON transfers BEGIN SELECT RAISE(ABORT, 'transfers is append-only: DELETE is refused'); END;

CREATE TRIGGER transfers_no_replace BEFORE INSERT ON transfers WHEN EXISTS (SELECT 1 FROM transfers WHERE user_id = NEW.user_id AND stream = NEW.stream AND seq = NEW.seq AND leg = NEW.leg) BEGIN SELECT RAISE(ABORT, 'UNIQUE constraint failed: transfers is append-only'); END;

CREATE TRIGGER transfers_no_update BEFORE UPDATE ON transfers BEGIN SELECT RAISE(ABORT, 'transfers is append-only: UPDATE is refused'); END;
