-- A journal of format 1 as the first release wrote it. Never changes.
PRAGMA application_id = 1229734731;
BEGIN TRANSACTION;
CREATE TABLE approvals (
    approval TEXT PRIMARY KEY,
    call_hash TEXT NOT NULL,
    expires_at_us INTEGER,
    granted_position INTEGER NOT NULL,
    consumed_position INTEGER
) WITHOUT ROWID;
CREATE TABLE bodies (
    position INTEGER PRIMARY KEY,
    salt BLOB NOT NULL,
    body BLOB NOT NULL
);
INSERT INTO "bodies" VALUES(3,X'50A4A3A6D07F5C0C332F8B1224083FD2',X'31');
INSERT INTO "bodies" VALUES(4,X'2B902F8911E81818F8C99D5D5D983195',X'7B22746F223A20317D');
INSERT INTO "bodies" VALUES(5,X'7504D90E945DE2E8F54EE781CC75F636',X'2273656E7422');
INSERT INTO "bodies" VALUES(6,X'D85099095AA300165A67036F9B540D6B',X'33');
INSERT INTO "bodies" VALUES(7,X'8F0BE21124179C3DD9F73817CE6E118D',X'7B22616E73776572223A2034327D');
CREATE TABLE budget_holds (
    hold TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    amount INTEGER NOT NULL,
    settled INTEGER
) WITHOUT ROWID;
CREATE TABLE budgets (
    account TEXT PRIMARY KEY,
    spend_limit INTEGER NOT NULL,
    held INTEGER NOT NULL,
    spent INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE effects (
    position INTEGER PRIMARY KEY,
    effect_key TEXT NOT NULL UNIQUE,
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    tool TEXT NOT NULL,
    tool_version TEXT NOT NULL,
    recovery TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL,
    intended_at_us INTEGER NOT NULL,
    settled_at_us INTEGER,
    result_position INTEGER
);
INSERT INTO "effects" VALUES(4,'e1','r1','/1/reply#1','reply','1','key','completed',1,'',1700000000000000,1700000000000000,5);
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    key TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    header TEXT NOT NULL,
    commitment BLOB NOT NULL,
    prev_hash BLOB NOT NULL
);
INSERT INTO "events" VALUES(1,1,1,0,'run_queued',1,'',1700000000000000,'{"agent":"triage","tenant":"acme"}',X'552A55C4B7ABB4E8E11DB297BAC2ED4B75E2B74E51C88568122321870BDC5F89',X'0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO "events" VALUES(2,1,2,1,'run_claimed',1,'',1700000000000000,'{"claim":1,"worker":"w1"}',X'0000000000000000000000000000000000000000000000000000000000000000',X'4885FC08CB9EAA6ADFCD606C928CCA83575CBE20CFA2AD98FB7D6F905D94C7B7');
INSERT INTO "events" VALUES(3,2,1,0,'mail_sent',1,'m1',1700000000000000,'{"kind":"signal","name":"go","run":"r1"}',X'D7238B6E580491BF4454E4F121431EF8191CE7186313BD1CD8DBE28C045FE658',X'0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO "events" VALUES(4,1,3,1,'effect_intended',1,'/1/reply#1',1700000000000000,'{"effect_key":"e1","recovery":"key","tool":"reply","tool_version":"1"}',X'17D707F0EA7D2C4302AC82E100B179BDDBD41356D0FB8F3896E2EE98D31FB502',X'4A65E11ACC6DE634B59C5F5BAED09006C3D71FD77C482A2351A50F2BC7A24BB9');
INSERT INTO "events" VALUES(5,1,4,1,'effect_completed',1,'/1/reply#1',1700000000000000,'{"effect_key":"e1"}',X'15AF11D2D57EBA55EE1EA3CB4D5C9253B901D41D1F0BD784322BB5EDA0816199',X'8F8FB0359A0F2036A1914172BD229234B9565D7303E24C0A370EF96ED2F69502');
INSERT INTO "events" VALUES(6,1,5,1,'step_completed',1,'/1/add#1',1700000000000000,'{"note":"gr\u00fc\u00dfe","takes":"m1"}',X'3FD23A60E114972706B72FCD6CDC1E8A058D1EEA71928E1696765D039C0A9235',X'D4D1BC19BD43404E822F91D65C4211AEC6A1D49494F58FFF9A1765B0D64F18DC');
INSERT INTO "events" VALUES(7,1,6,1,'run_completed',1,'',1700000000000000,'{"outcome":"resolved"}',X'3C098F9B7B9410DD44F9C0930625E5E59268104AC7CB90AE51A224FEFB2A0682',X'5402BECCB88D2DACCB11E25D7FED5DEF80EA88C12465423ECD448A7F2DC5FDC0');
INSERT INTO "events" VALUES(8,3,1,0,'bodies_erased',1,'',1700000000000000,'{"by":"ada","positions":[1],"reason":"request 7"}',X'0000000000000000000000000000000000000000000000000000000000000000',X'0000000000000000000000000000000000000000000000000000000000000000');
CREATE TABLE inbox (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    role TEXT NOT NULL,
    state TEXT NOT NULL,
    opened_at_us INTEGER NOT NULL,
    due_at_us INTEGER,
    decided_by TEXT NOT NULL,
    decided_at_us INTEGER,
    decision_position INTEGER
);
CREATE TABLE mail (
    position INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL UNIQUE,
    run TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    taken_position INTEGER
);
INSERT INTO "mail" VALUES(3,'m1','r1','signal','go',6);
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "meta" VALUES('created_at_us','1700000000000000');
INSERT INTO "meta" VALUES('format','1');
CREATE TABLE runs (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    agent TEXT NOT NULL,
    tenant TEXT NOT NULL,
    state TEXT NOT NULL,
    outcome TEXT NOT NULL,
    priority INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    start_after_us INTEGER NOT NULL,
    deadline_at_us INTEGER,
    wake_at_us INTEGER,
    parent TEXT NOT NULL,
    parent_key TEXT NOT NULL,
    close_policy TEXT NOT NULL,
    generation INTEGER NOT NULL,
    generation_seq INTEGER NOT NULL,
    claims INTEGER NOT NULL,
    claim_seq INTEGER NOT NULL,
    worker TEXT NOT NULL,
    code_version TEXT NOT NULL,
    reason TEXT NOT NULL,
    waits TEXT NOT NULL,
    input_position INTEGER NOT NULL,
    result_position INTEGER
);
INSERT INTO "runs" VALUES(1,'r1','triage','acme','completed','resolved',0,1700000000000000,1700000000000000,0,NULL,NULL,'','','',1,1,1,2,'','','','[]',1,7);
CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
INSERT INTO "streams" VALUES(1,'r1');
INSERT INTO "streams" VALUES(2,'mail/r1');
INSERT INTO "streams" VALUES(3,'tenant/default');
CREATE TABLE unique_keys (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    holder TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE UNIQUE INDEX events_by_stream ON events (stream, seq);
CREATE INDEX runs_by_state ON runs (state, position);
CREATE INDEX runs_queued ON runs (priority DESC, tenant, agent, start_after_us, position) WHERE state = 'queued';
CREATE INDEX runs_delayed ON runs (start_after_us) WHERE state = 'queued';
CREATE INDEX runs_due ON runs (wake_at_us) WHERE wake_at_us IS NOT NULL;
CREATE INDEX runs_by_parent ON runs (parent, position) WHERE parent <> '';
CREATE INDEX effects_by_run ON effects (run, position);
CREATE INDEX effects_by_state ON effects (state, position);
CREATE INDEX inbox_by_state ON inbox (state, position);
CREATE INDEX inbox_open_by_run ON inbox (run) WHERE state = 'open';
CREATE INDEX mail_untaken_by_run ON mail (run, position) WHERE taken_position IS NULL;
CREATE INDEX mail_untaken ON mail (position) WHERE taken_position IS NULL;
COMMIT;
