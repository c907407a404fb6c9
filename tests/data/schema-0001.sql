CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE answer (
    id VARCHAR(32) NOT NULL,
    run_id VARCHAR(32) NOT NULL,
    system VARCHAR(255) NOT NULL,
    is_ensemble BOOLEAN NOT NULL,
    body BLOB NOT NULL,
    num_tokens INTEGER NOT NULL,
    num_ensembled INTEGER NOT NULL,
    ttft_s DOUBLE NOT NULL,
    seconds DOUBLE NOT NULL,
    finish_reason VARCHAR(16) NOT NULL,
    digest VARCHAR(64) DEFAULT '' NOT NULL,
    is_reproducible BOOLEAN DEFAULT 0 NOT NULL,
    CONSTRAINT pk_answer PRIMARY KEY (id),
    CONSTRAINT uq_answer_run_id_is_ensemble_system UNIQUE (run_id, is_ensemble, system),
    CONSTRAINT fk_answer_run_id FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE
);
CREATE TABLE arena_controls (
    id INTEGER NOT NULL,
    body BLOB NOT NULL,
    CONSTRAINT pk_arena_controls PRIMARY KEY (id)
);
CREATE TABLE battle (
    id VARCHAR(32) NOT NULL,
    visitor_id INTEGER NOT NULL,
    run_id VARCHAR(32),
    key_id INTEGER NOT NULL,
    server_id VARCHAR(32),
    origin VARCHAR(16) NOT NULL,
    is_blind BOOLEAN NOT NULL,
    "left" VARCHAR(80) NOT NULL,
    "right" VARCHAR(80) NOT NULL,
    language VARCHAR(8) NOT NULL,
    config_hash VARCHAR(64) NOT NULL,
    client VARCHAR(24) DEFAULT '' NOT NULL,
    status VARCHAR(16) NOT NULL,
    has_consent BOOLEAN NOT NULL,
    body BLOB NOT NULL,
    created_at DATETIME NOT NULL,
    CONSTRAINT pk_battle PRIMARY KEY (id),
    CONSTRAINT fk_battle_visitor_id FOREIGN KEY(visitor_id) REFERENCES visitor_session (id) ON DELETE CASCADE,
    CONSTRAINT fk_battle_run_id FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE
);
CREATE TABLE conversation (
    id VARCHAR(32) NOT NULL,
    visitor_id INTEGER NOT NULL,
    created_at DATETIME NOT NULL,
    name BLOB,
    key_id INTEGER,
    is_starred BOOLEAN DEFAULT 0 NOT NULL,
    CONSTRAINT pk_conversation PRIMARY KEY (id),
    CONSTRAINT fk_conversation_visitor_id FOREIGN KEY(visitor_id) REFERENCES visitor_session (id) ON DELETE CASCADE
);
CREATE TABLE judgement (
    id VARCHAR(32) NOT NULL,
    battle_id VARCHAR(32) NOT NULL,
    position INTEGER NOT NULL,
    kind VARCHAR(16) NOT NULL,
    outcome VARCHAR(16) DEFAULT '' NOT NULL,
    facts BLOB NOT NULL,
    body BLOB,
    created_at DATETIME NOT NULL,
    CONSTRAINT pk_judgement PRIMARY KEY (id),
    CONSTRAINT uq_judgement_battle_id_position UNIQUE (battle_id, position),
    CONSTRAINT fk_judgement_battle_id FOREIGN KEY(battle_id) REFERENCES battle (id) ON DELETE CASCADE
);
CREATE TABLE outline (
    answer_id VARCHAR(32) NOT NULL,
    steps BLOB NOT NULL,
    CONSTRAINT pk_outline PRIMARY KEY (answer_id),
    CONSTRAINT fk_outline_answer_id FOREIGN KEY(answer_id) REFERENCES answer (id) ON DELETE CASCADE
);
CREATE TABLE run (
    id VARCHAR(32) NOT NULL,
    conversation_id VARCHAR(32) NOT NULL,
    position INTEGER NOT NULL,
    parent_run_id VARCHAR(32),
    branch_position INTEGER,
    repeats_run_id VARCHAR(32),
    key_id INTEGER NOT NULL,
    server_id VARCHAR(32),
    body BLOB NOT NULL,
    config_hash VARCHAR(64) NOT NULL,
    status VARCHAR(16) NOT NULL,
    is_shared BOOLEAN DEFAULT 0 NOT NULL,
    created_at DATETIME NOT NULL,
    finished_at DATETIME,
    CONSTRAINT pk_run PRIMARY KEY (id),
    CONSTRAINT uq_run_conversation_id_position UNIQUE (conversation_id, position),
    CONSTRAINT fk_run_conversation_id FOREIGN KEY(conversation_id) REFERENCES conversation (id) ON DELETE CASCADE,
    CONSTRAINT fk_run_parent_run_id FOREIGN KEY(parent_run_id) REFERENCES run (id) ON DELETE SET NULL
);
CREATE TABLE run_key (
    id INTEGER NOT NULL,
    "key" BLOB NOT NULL,
    is_used BOOLEAN NOT NULL,
    CONSTRAINT pk_run_key PRIMARY KEY (id)
);
CREATE TABLE server (
    id VARCHAR(32) NOT NULL,
    host VARCHAR(255) NOT NULL,
    pid INTEGER NOT NULL,
    started_s DOUBLE NOT NULL,
    seen_at DATETIME NOT NULL,
    CONSTRAINT pk_server PRIMARY KEY (id)
);
CREATE TABLE standing_vote (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    battle_id VARCHAR(32) NOT NULL,
    visitor_id INTEGER NOT NULL,
    "left" VARCHAR(80) NOT NULL,
    "right" VARCHAR(80) NOT NULL,
    outcome VARCHAR(16) NOT NULL,
    origin VARCHAR(16) NOT NULL,
    language VARCHAR(8) NOT NULL,
    config_hash VARCHAR(64) NOT NULL,
    client VARCHAR(24) DEFAULT '' NOT NULL,
    voted_s DOUBLE NOT NULL,
    turn INTEGER NOT NULL,
    is_flagged BOOLEAN NOT NULL,
    left_chars INTEGER NOT NULL,
    left_headings INTEGER NOT NULL,
    left_lists INTEGER NOT NULL,
    left_bold INTEGER NOT NULL,
    left_ms_per_token DOUBLE,
    left_passes_per_token DOUBLE,
    right_chars INTEGER NOT NULL,
    right_headings INTEGER NOT NULL,
    right_lists INTEGER NOT NULL,
    right_bold INTEGER NOT NULL,
    right_ms_per_token DOUBLE,
    right_passes_per_token DOUBLE,
    CONSTRAINT uq_standing_vote_battle_id UNIQUE (battle_id),
    CONSTRAINT fk_standing_vote_battle_id FOREIGN KEY(battle_id) REFERENCES battle (id) ON DELETE CASCADE
);
CREATE TABLE study (
    id VARCHAR(32) NOT NULL,
    visitor_id INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    head BLOB NOT NULL,
    body BLOB NOT NULL,
    created_at DATETIME NOT NULL,
    CONSTRAINT pk_study PRIMARY KEY (id),
    CONSTRAINT fk_study_visitor_id FOREIGN KEY(visitor_id) REFERENCES visitor_session (id) ON DELETE CASCADE
);
CREATE TABLE trace (
    answer_id VARCHAR(32) NOT NULL,
    steps BLOB NOT NULL,
    CONSTRAINT pk_trace PRIMARY KEY (answer_id),
    CONSTRAINT fk_trace_answer_id FOREIGN KEY(answer_id) REFERENCES answer (id) ON DELETE CASCADE
);
CREATE TABLE visitor_session (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    key_hash VARCHAR(64) NOT NULL,
    pseudonym VARCHAR(32) DEFAULT '' NOT NULL,
    created_at DATETIME NOT NULL,
    CONSTRAINT uq_visitor_session_key_hash UNIQUE (key_hash)
);
CREATE TABLE vote (
    run_id VARCHAR(32) NOT NULL,
    body BLOB NOT NULL,
    created_at DATETIME NOT NULL,
    CONSTRAINT pk_vote PRIMARY KEY (run_id),
    CONSTRAINT fk_vote_run_id FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE
);
CREATE INDEX ix_visitor_session_pseudonym ON visitor_session (pseudonym);
CREATE INDEX ix_run_key_free ON run_key (id) WHERE is_used = 0;
CREATE INDEX ix_study_visitor_id ON study (visitor_id);
CREATE INDEX ix_conversation_visitor_id ON conversation (visitor_id);
CREATE INDEX ix_run_status ON run (status);
CREATE INDEX ix_run_created_at_id ON run (created_at, id);
CREATE INDEX ix_run_parent_run_id ON run (parent_run_id);
CREATE INDEX ix_battle_run_id ON battle (run_id);
CREATE INDEX ix_battle_server_id ON battle (server_id);
CREATE INDEX ix_battle_created_at_id ON battle (created_at, id);
CREATE INDEX ix_battle_visitor_id ON battle (visitor_id);
CREATE INDEX ix_standing_vote_visitor_id ON standing_vote (visitor_id);
