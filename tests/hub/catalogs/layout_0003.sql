-- The catalog with where releases are steered: layout 0003, migrated from 0002.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE annotations (
	id TEXT NOT NULL, 
	episode TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	data JSON NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "annotations" VALUES('01HF7YAT00DF3MZ4QDVRPM2K08','01HF7YAT00BY1C5PEFXC7T68EQ',4,'{"id": "01HF7YAT00DF3MZ4QDVRPM2K08", "episode": "01HF7YAT00BY1C5PEFXC7T68EQ", "author": "ann", "judge": "person", "wall_s": 1.0, "outcome": "failure", "exclude": null, "quality": 0.5}');
CREATE TABLE attended (
	robot TEXT NOT NULL, 
	pool TEXT NOT NULL, 
	attendant TEXT NOT NULL, 
	PRIMARY KEY (robot)
);
INSERT INTO "attended" VALUES('robot-1','shift','shift-1');
CREATE TABLE channels (
	name TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "channels" VALUES('edge',1);
INSERT INTO "channels" VALUES('stable',1);
CREATE TABLE episodes (
	id TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	hash TEXT NOT NULL, 
	task TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	judge TEXT NOT NULL, 
	excluded BOOLEAN NOT NULL, 
	quality FLOAT, kind TEXT DEFAULT 'unknown' NOT NULL, bytes BIGINT DEFAULT '0' NOT NULL, received_wall_s FLOAT, tombstone INTEGER, 
	PRIMARY KEY (id), 
	UNIQUE (seq)
);
INSERT INTO "episodes" VALUES('01HF7YAT00BY1C5PEFXC7T68EQ',1,'46e370fdd15a81a39b4996441b313063109ccd253efa21e7e10bb708ae1650e4','restock/shelf','failure','person',0,0.5,'autonomous',4506,NULL,NULL);
INSERT INTO "episodes" VALUES('01HF7YAT00EC89J23STF7W61XK',2,'7be2def08d0b1958c8e2afcc9087a2799325a02d1c6a8851f8d6655dcec5da44','restock/shelf','success','simulator',0,NULL,'correction',4506,NULL,NULL);
INSERT INTO "episodes" VALUES('01HF7YAT007Z2H7KJP0RCFPBBH',3,'54d3714c309b690d0742c7197be3ea98d5f21c938df3e63b358d2007f1a5b3ef','restock/shelf','success','simulator',0,NULL,'demonstration',4522,NULL,NULL);
CREATE TABLE events (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	kind TEXT NOT NULL, 
	ref TEXT NOT NULL, 
	data JSON NOT NULL
);
INSERT INTO "events" VALUES(1,'episode','01HF7YAT00BY1C5PEFXC7T68EQ','{"id": "01HF7YAT00BY1C5PEFXC7T68EQ", "run": "run-1", "task": "restock/shelf", "instruction": "put the can into the left slot", "purpose": "online", "robot": "robot-1", "embodiment": "two-hands", "spec_hash": "e9633a0fe94baa4001f013122b52e0d3a785c9f0cda2220ea52f42e606db71fe", "site": "site-1", "seed": -1, "operator": "", "outcome": "success", "judge": "simulator", "ticks_missed": 1, "frames": 4, "frames_human": 0, "interventions": 0, "human_runs": [], "takeover_ends_s": [], "first_clock_s": 100.0, "last_clock_s": 100.15, "reset_s": 0.0, "control_hz": 20, "clock": "wall", "received_clock_s": 1000, "release_min": 1, "release_max": 1, "staleness": 0, "hash": "46e370fdd15a81a39b4996441b313063109ccd253efa21e7e10bb708ae1650e4", "bytes": 4506}');
INSERT INTO "events" VALUES(2,'episode','01HF7YAT00EC89J23STF7W61XK','{"id": "01HF7YAT00EC89J23STF7W61XK", "run": "run-1", "task": "restock/shelf", "instruction": "put the can into the left slot", "purpose": "online", "robot": "robot-1", "embodiment": "two-hands", "spec_hash": "e9633a0fe94baa4001f013122b52e0d3a785c9f0cda2220ea52f42e606db71fe", "site": "site-1", "seed": -1, "operator": "", "outcome": "success", "judge": "simulator", "ticks_missed": 1, "frames": 4, "frames_human": 2, "interventions": 1, "human_runs": [[2, 4]], "takeover_ends_s": [100.15], "first_clock_s": 100.0, "last_clock_s": 100.15, "reset_s": 0.0, "control_hz": 20, "clock": "wall", "received_clock_s": 1000, "release_min": 1, "release_max": 1, "staleness": 0, "hash": "7be2def08d0b1958c8e2afcc9087a2799325a02d1c6a8851f8d6655dcec5da44", "bytes": 4506}');
INSERT INTO "events" VALUES(3,'episode','01HF7YAT007Z2H7KJP0RCFPBBH','{"id": "01HF7YAT007Z2H7KJP0RCFPBBH", "run": "demos", "task": "restock/shelf", "instruction": "put the can into the left slot", "purpose": "demonstration", "robot": "robot-1", "embodiment": "two-hands", "spec_hash": "e9633a0fe94baa4001f013122b52e0d3a785c9f0cda2220ea52f42e606db71fe", "site": "site-1", "seed": -1, "operator": "", "outcome": "success", "judge": "simulator", "ticks_missed": 1, "frames": 4, "frames_human": 4, "interventions": 1, "human_runs": [[0, 4]], "takeover_ends_s": [100.15], "first_clock_s": 100.0, "last_clock_s": 100.15, "reset_s": 0.0, "control_hz": 20, "clock": "wall", "received_clock_s": 1000, "release_min": 0, "release_max": 0, "staleness": 0, "hash": "54d3714c309b690d0742c7197be3ea98d5f21c938df3e63b358d2007f1a5b3ef", "bytes": 4522}');
INSERT INTO "events" VALUES(4,'annotation','01HF7YAT00DF3MZ4QDVRPM2K08','{"id": "01HF7YAT00DF3MZ4QDVRPM2K08", "episode": "01HF7YAT00BY1C5PEFXC7T68EQ", "author": "ann", "judge": "person", "wall_s": 1.0, "outcome": "failure", "exclude": null, "quality": 0.5}');
CREATE TABLE leases (
	name TEXT NOT NULL, 
	holder TEXT NOT NULL, 
	fence INTEGER NOT NULL, 
	until FLOAT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "leases" VALUES('learner','learner',1,1060.0);
CREATE TABLE releases (
	version INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	manifest JSON NOT NULL, 
	PRIMARY KEY (version), 
	UNIQUE ("key")
);
INSERT INTO "releases" VALUES(1,'ac339a82c045afa96f965d7f2587a8acb700a3353d74ca832e8737159f025328','{"run": "run-1", "step": 25, "parent": 0, "trained_through": 0, "policy": {"name": "flow"}, "spec": {"inputs": [{"name": "hands", "shape": [4], "dtype": "float32", "unit": "", "fields": [], "low": null, "high": null, "categories": [], "label": false}], "action": {"name": "hands", "shape": [2], "dtype": "float32", "unit": "", "fields": [], "low": -1, "high": 1, "categories": [], "label": false}, "horizon": 8, "execute": 4, "control_hz": 20, "cameras": [], "rename": {}}, "spec_hash": "96b9a0fd387234bc735939c9595762ebe8a6d6eff55bce29714e0530456dbea1", "config_hash": "c", "statistics_hash": "s", "conditions": [], "codec": "full/1", "tensors": [{"name": "head.weight", "dtype": "bfloat16", "shape": [3, 2], "hash": "4d6b471620b52c5b92f75fbd4f4315c0c1e11cc337fa886f713d1928768ce1df"}], "blobs": [{"hash": "d7cef67a7b07955d6a4a31057569234fb8f808e15fb278ce2da35ec61a82cc1a", "size": 92}], "result_hash": "e1ec02462ff7e8d00faf3b3c99c9310b9033a92a1825daa7e40a30c93e5572dc", "clock_s": 1.0, "version": 1, "base": 0, "covers": [], "condition": "", "signature": "", "format": 1}');
CREATE TABLE removals (
	episode TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	wall_s FLOAT NOT NULL, 
	PRIMARY KEY (episode)
);
CREATE TABLE robots (
	name TEXT NOT NULL, 
	registration JSON NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "robots" VALUES('robot-1','{"robot": "robot-1", "host": "host-1", "site": "site-1", "tasks": ["restock/shelf", "box/walls"], "spec": {"embodiment": "two-hands", "state": [{"name": "hands", "shape": [4], "dtype": "float32", "unit": "", "fields": [], "low": null, "high": null, "categories": [], "label": false}], "action": {"name": "hands", "shape": [2], "dtype": "float32", "unit": "", "fields": [], "low": -1, "high": 1, "categories": [], "label": false}, "control_hz": 20, "cameras": []}}');
CREATE TABLE steering (
	name TEXT NOT NULL, 
	data JSON NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE tokens (
	id TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	data JSON NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (hash)
);
INSERT INTO "tokens" VALUES('0435709c','4ea6f19cd6f3b6bf5d900c2ef3c5d4b8ffa36b7116fc04bb850492adc981b3ba','{"id": "0435709c", "scope": "robot", "robots": [], "note": "bench 3", "issued_wall_s": 1000, "revoked_wall_s": null}');
CREATE INDEX ix_episodes_task ON episodes (task);
CREATE INDEX ix_episodes_outcome ON episodes (outcome);
CREATE INDEX ix_annotations_episode ON annotations (episode);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',4);
COMMIT;
