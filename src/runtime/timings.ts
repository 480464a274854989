/**
 * All timings of Mailroom, in milliseconds. A value that depends on another is an expression of it, with the
 * reason. docs/timings.md is this table for readers; test/docs/timings.test.ts compares the two.
 */

const SECOND_MS = 1000
export const MINUTE_MS = 60 * SECOND_MS
export const DAY_MS = 24 * 60 * MINUTE_MS

// ── A POST ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Logging actors refuse the messages of a POST after this time. */
export const POST_DEADLINE_MS = 3 * SECOND_MS
/** A facade waits this long for one logging actor, then fails over to another: a POST has room for three tries. */
export const APPEND_ATTEMPT_MS = Math.floor(POST_DEADLINE_MS / 3)
/** An attempt has so much more time for each MiB of its texts: the largest message has one, as long as its POST. */
export const APPEND_MIB_MS = Math.floor(POST_DEADLINE_MS / 25)
/** A facade waits this long for a logging actor whose last call failed, while another one is healthy. */
export const APPEND_PROBE_MS = Math.floor(APPEND_ATTEMPT_MS / 5)
/** After a failed call, a facade asks each logging actor whether it answers within this time, and repeats it so often. */
export const LOGGING_PROBE_MS = Math.floor(APPEND_ATTEMPT_MS / 2)
/** When all logging actors were unreachable, the facade pauses this long. */
export const APPEND_RETRY_MS = 25
/** A read of the log takes as long as a POST at most, over all logging actors. */
export const LOG_READ_DEADLINE_MS = POST_DEADLINE_MS
/** A logging actor that failed is passed over for this time, doubling with each further failure. */
export const PASS_OVER_MS = SECOND_MS
/** The longest time it is passed over. */
export const PASS_OVER_MAX_MS = 8 * PASS_OVER_MS
/** Clocks of two nodes differ by less than this. */
export const CLOCK_SKEW_MS = SECOND_MS
/** A cursor for following the log stays this far behind: younger ids may yet be stored, up to a POST's deadline. */
export const CURSOR_DELAY_MS = POST_DEADLINE_MS + CLOCK_SKEW_MS
/** A holder's append of an overdue batch to the log must finish within this time. */
export const REAPPEND_DEADLINE_MS = POST_DEADLINE_MS
/** How long the answer to the first request with an idempotency key is kept, by default: embedded backend. */
export const KEY_RETENTION_EMBEDDED_MS = 3 * DAY_MS
/** The same on Hazelcast, where keys take room in the members' heaps. */
export const KEY_RETENTION_HAZELCAST_MS = DAY_MS
/** A repeat at a source waits this long for the first to end. */
export const REPEAT_WAIT_MS = 2 * SECOND_MS
/** A redelivery is waited for this long; its run may take longer. */
export const REDELIVER_MAX_MS = 4 * MINUTE_MS
/** A redelivery waits this long for a slot. */
export const REDELIVER_WAIT_MS = 10 * SECOND_MS
/** A pause of delivery waits this long for the messages actors to know of it. */
export const PAUSE_TOLD_MS = 5 * SECOND_MS
/** Pause before one that did not answer is told again. */
export const PAUSE_CHECK_MS = 100
/** How often it looks. */
export const REPEAT_CHECK_MS = 20
/** The first ten refusals of a source, or of changes, in this time are logged one by one, the others are counted. */
export const REFUSAL_LOG_MS = SECOND_MS
/** A browser that has signed in has to do so again after this long. */
export const SESSION_MS = 12 * 60 * MINUTE_MS
/** A facade takes ten sign-ins in this time. */
export const SIGN_IN_WINDOW_MS = MINUTE_MS

// ── The node's time ─────────────────────────────────────────────────────────────────────────────────────────

/** How often the primary compares the node's time with the wall clock. */
export const CLOCK_CHECK_MS = SECOND_MS / 2
/** A difference above this between the node's time and the wall clock is reported. */
export const CLOCK_OFF_MS = SECOND_MS
/** A wall clock that was set forward is believed after this time, so that a short mistake moves nothing. */
export const CLOCK_BELIEVE_MS = MINUTE_MS
/** A difference up to `CLOCK_OFF_MS` between the node's time and the wall clock is corrected once it is this large. */
export const SLEW_FROM_MS = 50
/** Such a correction ends when the difference is this small. */
export const SLEW_TO_MS = 10

// ── Overload ────────────────────────────────────────────────────────────────────────────────────────────────

/** An answer within this time shows that posts do not queue. */
export const PROMPT_ANSWER_MS = 100
/** Overload begins when no answer was prompt for this time, and ends when none was refused for this time. */
export const OVERLOAD_WINDOW_MS = SECOND_MS
/** The facade reads nothing from a refused connection for this time: the shortest `Retry-After`. */
export const REFUSED_PAUSE_MS = SECOND_MS
/** A facade starts posts for this long in one event-loop iteration. */
export const SLICE_MS = 1

// ── Clients of the HTTP API ─────────────────────────────────────────────────────────────────────────────────

/** The head of a request must arrive within this time. */
export const HEAD_TIMEOUT_MS = 10 * SECOND_MS
/** A body (not NDJSON) must arrive within this time after the head, and `BODY_MIB_MS` for each MiB of it. */
export const BODY_TIMEOUT_MS = HEAD_TIMEOUT_MS
/** A body has so much more time for each MiB that it has, announced or read. */
export const BODY_MIB_MS = SECOND_MS
/** An NDJSON stream on which nothing was answered for this long gets an empty line. */
export const STREAM_PULSE_MS = 15 * SECOND_MS
/** The rest of a stream that was cut off is read and dropped for this long, while the client sends. */
export const STREAM_DROP_MS = MINUTE_MS
/** A client may read nothing of its answer for this long. */
export const READ_STALL_MS = 10 * SECOND_MS
/** Lines of a stream wait this long for room in a full mailbox, then they are refused. */
export const STREAM_PATIENCE_MS = 10 * SECOND_MS
/** Pause before a stream tries a full mailbox again; it doubles with each try. */
export const STREAM_RETRY_MIN_MS = 10
/** The longest such pause. */
export const STREAM_RETRY_MAX_MS = 500
/** What a refused client still sends is read for this long, so that a reset does not overtake the answer. */
export const LINGER_MS = SECOND_MS

// ── Events ──────────────────────────────────────────────────────────────────────────────────────────────────

/** A facade whose readers follow the log or the lanes asks for what is new this often. */
export const FOLLOW_MS = 100
/** Readers of `stats` are given the figures this often. */
export const STATS_MS = SECOND_MS
/** Pause before it asks again while there was more than an answer holds. */
export const FOLLOW_ON_MS = FOLLOW_MS / 10
/** A new reader of events waits this long for the facade to read what happens. */
export const FOLLOW_READY_MS = SECOND_MS
/** A messages actor keeps what a lane settles for this long after a facade has asked for it. */
export const RECENT_KEPT_MS = 10 * SECOND_MS
/** Pause before a facade repeats a read for a reader that resumes. */
export const FOLLOW_RETRY_MS = 250
/** A reader of events gets a comment this often. */
export const EVENTS_COMMENT_MS = STREAM_PULSE_MS
/** What a reader of events is told to wait before it connects again. */
export const EVENTS_RETRY_MS = SECOND_MS

// ── Draining ────────────────────────────────────────────────────────────────────────────────────────────────

/** A draining facade answers with `Connection: close` for this long before it stops listening. */
export const DRAIN_NOTICE_MS = SECOND_MS
/** An NDJSON stream notices a drain within this time, and takes lines for as long again. */
export const STREAM_DRAIN_CHECK_MS = DRAIN_NOTICE_MS / 4
/** Before the listener closes, answers are held back this long: clients that wait for one open no connection. */
export const CLOSE_HOLD_MS = 50
/** The longest time answers are held back, while clients still connect. */
export const CLOSE_HOLD_MAX_MS = SECOND_MS
/** How often a closing public server closes the connections that are idle. */
export const IDLE_SWEEP_MS = 100
/** The same for the servers between actors. */
export const INTERNAL_IDLE_SWEEP_MS = IDLE_SWEEP_MS / 2
/** A closing public server closes a connection after this idle time. The client had time to use it during the notice. */
export const IDLE_CLOSE_MS = DRAIN_NOTICE_MS
/** How often a facade compares its number of connections with the other facades of its node. */
export const BALANCE_MS = 250
/** When a node stops, each role has this long; together, with `OUTPUT_END_MS` for each role, no more than `DRAIN_MS`. */
export const STOP_MS = { facade: 4400, logging: 900, messages: 4400 }
/** An actor that is scaled away or restarted may drain for this long; then its process is killed. */
export const DRAIN_MS = 10 * SECOND_MS
/** `STREAM_DROP_MS` while the last facade stops: after the notice and two checks, and with the linger after it. */
export const STREAM_DROP_STOP_MS = STOP_MS.facade - 2400
/** The same while another facade replaces this one. */
export const STREAM_DROP_DRAIN_MS = DRAIN_MS - 3 * SECOND_MS
/** A handler must end within this time after its signal was aborted. */
export const HANDLER_ABORT_GRACE_MS = SECOND_MS
/** When their lane is to be released, handlers may run this long before their signal is aborted. */
export const HANDLER_GRACE_MS = STOP_MS.messages - HANDLER_ABORT_GRACE_MS - 400
/** A second signal within this time counts as the first: npm forwards a terminal's Ctrl-C again. */
export const SAME_SIGNAL_MS = SECOND_MS
/** Signals to a worker and its primary within this time count as one signal to the node. */
export const SIGNAL_GRACE_MS = 300

// ── Supervision ─────────────────────────────────────────────────────────────────────────────────────────────

/** A start waits this long for a port that is taken: workers of a primary that was killed hold it until they end. */
export const PORT_WAIT_MS = 3 * SECOND_MS
/** How often a start checks a port that is taken. */
export const PORT_CHECK_MS = 100

/** A worker sends its status at least this often. */
export const HEARTBEAT_MS = SECOND_MS
/** How often the room on the disk is measured for the figures. */
export const DISK_FIGURES_MS = 5 * HEARTBEAT_MS
/** How long a node does not count its data again, for each file that it counted: each costs a process some 30 us. */
export const DISK_FIGURES_FILE_MS = 50
/** For how long the figures of each second are kept, for the charts of the dashboard. */
export const HISTORY_MS = 15 * MINUTE_MS
/** How often a worker checks what it lacks: it sends a change at once. `/readyz` follows within this time. */
export const MISSING_CHECK_MS = HEARTBEAT_MS / 2
/** What a node lacks for longer than this is logged. */
export const UNREADY_LOG_MS = SECOND_MS
/** A worker is pinged after this much silence: two lost heartbeats. */
export const SILENT_MS = 2 * HEARTBEAT_MS
/** A worker that does not answer a ping within this time is killed. */
export const PING_MS = HEARTBEAT_MS
/** How often the primary checks its workers. */
export const LIVENESS_CHECK_MS = HEARTBEAT_MS / 4
/** A liveness check that runs later than this kills no worker: the primary itself was stopped. */
export const LATE_CHECK_MS = LIVENESS_CHECK_MS
/** An actor must have booted within this time. */
export const BOOT_TIMEOUT_MS = 30 * SECOND_MS
/** A crashed actor is restarted after up to this time; it doubles with each crash. */
export const RESTART_BASE_MS = 100
/** The longest backoff, and how often an open breaker lets an actor try. */
export const RESTART_MAX_MS = 30 * SECOND_MS
/** The longest backoff after a fork that failed. */
export const FORK_RETRY_MAX_MS = 2 * SECOND_MS
/** Five crashes within this time open the actor's circuit breaker; an uptime this long closes it. */
export const CRASH_WINDOW_MS = MINUTE_MS
/** Changes of the directory are sent to the workers together, this often at most. */
export const DIRECTORY_PERIOD_MS = 50
/** Log lines that their destination does not take are tried again this often. */
export const OUTPUT_RETRY_MS = 250
/** A process that ends waits this long for the reader of its log lines. */
export const OUTPUT_FLUSH_MS = 500
/** It waits only this long for a reader that takes nothing. */
export const OUTPUT_STALL_MS = OUTPUT_FLUSH_MS / 5
/** The output of a worker that has ended is read for this long: a process that it started may hold it open. */
export const OUTPUT_END_MS = 100
/** Pause before a process that ends tries its last lines again. */
export const OUTPUT_FLUSH_PAUSE_MS = 2
/** A new start waits this long for the workers of a dead primary to end. */
export const ORPHAN_WAIT_MS = 5 * SECOND_MS
/** How often a new start checks whether those workers have ended. */
export const ORPHAN_CHECK_MS = 20
/** A facade or logging actor that replaces another waits this long for its cluster before it serves. */
export const CLUSTER_WAIT_MS = SECOND_MS
/** How often it checks the cluster meanwhile. */
export const CLUSTER_WAIT_CHECK_MS = 10

// ── Calls between actors and nodes ──────────────────────────────────────────────────────────────────────────

/** A call of a facade to a messages actor is answered within this time. */
export const ASK_TIMEOUT_MS = 2 * SECOND_MS
/** Pause before a call to a lane that is on its way to another holder is tried again. */
export const ASK_RETRY_MS = 50
/** A wake-up is delivered within this time or is lost. */
export const WAKE_TIMEOUT_MS = SECOND_MS
/** The server of an actor that drains answers for this long: by then every caller of the node has the new directory. */
export const INTERNAL_CLOSE_NOTICE_MS = 2 * DIRECTORY_PERIOD_MS
/** A caller ends its exchange within this time after the actor asked for it; else the actor ends it. */
export const EXCHANGE_CLOSE_MS = 4 * DIRECTORY_PERIOD_MS
/** A connection between actors may be idle for this long. The calling end closes it 2 s before that. */
export const INTERNAL_KEEP_ALIVE_MS = MINUTE_MS
/** A connection to another actor must be established within this time. */
export const CONNECT_TIMEOUT_MS = SECOND_MS
/** The facade redrives, or changes dead letters in bulk, for this long in one request. */
export const BULK_SLICE_MS = ASK_TIMEOUT_MS
/** A logging actor searches the log for this long in one call. */
export const SEARCH_SLICE_MS = Math.floor(BULK_SLICE_MS / 10)
/** Each node asks the others this often; three polls without an answer: unreachable, five: forgotten. */
export const NODE_POLL_MS = SECOND_MS
/** Another node must answer within this time. */
export const NODE_TIMEOUT_MS = NODE_POLL_MS
/** A leaving node announces it for this long: every other node has polled once by then. */
export const LEAVE_NOTICE_MS = NODE_POLL_MS + 250

// ── Consuming ───────────────────────────────────────────────────────────────────────────────────────────────

/** Under load, a facade keeps a lane and wakes its holder, and a holder claims from it, once in this time; after a pause at once. */
export const DELIVERY_MS = 20
/** A claim waits at most this long for a first message. Its wake-up ends it; should that be lost, its backend does. */
export const CLAIM_WAIT_MS = 10 * SECOND_MS
/** While a target is away, pauses between probes grow to this, from 1 s, doubled; each is up to a half shorter. */
export const OUTAGE_PAUSE_MAX_MS = 10 * SECOND_MS
/** The shortest such pause, times the number of messages actors: all together knock once a second at most. */
export const OUTAGE_KNOCK_MS = 1200
/** A target that is away may ask for a pause of this length. */
export const OUTAGE_ASKED_MAX_MS = MINUTE_MS
/** A start that has not ended after this time holds up no other while starts are held back. */
export const SLOW_START_MS = SECOND_MS
/** A process must load the handler within this time. */
export const HANDLER_LOAD_MS = BOOT_TIMEOUT_MS - 10 * SECOND_MS
/** The longest pause before a process is started for a handler again; it begins with `RESTART_BASE_MS`. */
export const HANDLER_RESTART_MAX_MS = 5 * SECOND_MS
/** How often a handler's process checks that its messages actor lives. */
export const HANDLER_WATCH_MS = 250
/** At most 1,000 lines of a handler's output are logged in this time. */
export const HANDLER_OUTPUT_MS = SECOND_MS
/** A connection for `--forward` must be established within this time. */
export const FORWARD_CONNECT_MS = 10 * SECOND_MS
/** The body of an answer to `--forward` is read for this long: the status has decided. */
export const FORWARD_BODY_MS = 2 * SECOND_MS
/** Pause before a call is repeated to a queue that was unavailable. */
export const QUEUE_RETRY_MS = 250
/** Pause before a messages actor tries again to take a lane that was not free. */
export const LANE_RETRY_MS = 50
/** How often a messages actor measures its lanes' backlogs. A facade adds what it sent since. */
export const BACKLOG_PERIOD_MS = HEARTBEAT_MS

// ── Embedded backend ────────────────────────────────────────────────────────────────────────────────────────

/** How often open files are compared with those under their names, and one that could not be written is tried again. */
export const DISK_PROBE_MS = HEARTBEAT_MS / 2
/** The same for lanes and files to read while their directory does not change: a file may have been cut. */
export const QUIET_PROBE_MS = 20 * DISK_PROBE_MS
/** A directory that changed this long ago has another time after its next change. Kernels tick every 1 to 10 ms. */
export const COARSE_TIME_MS = 50
/** How often messages older than the retention are removed. */
export const HOUSEKEEPING_MS = MINUTE_MS
/** How often homes and journals whose last transactions only said "delivered" are synced: a power cut undoes no more than that. */
export const HOME_SYNC_MS = SECOND_MS
/** How often an actor checks for all its idle lanes whether log files have changed: a lost wake-up costs this time. */
export const LANES_POLL_MS = 500
/** The lanes share the result of such a check for this long. A wake-up does not wait for it. */
export const FILES_CHECK_MS = LANES_POLL_MS / 10
/** A reader waits this long for a file's lock, which exists only during recovery after a crash. */
export const READER_TIMEOUT_MS = 250

// ── Hazelcast backend ───────────────────────────────────────────────────────────────────────────────────────

/** A call to a cluster must be answered within this time: half a second before the POST it belongs to ends. */
export const CLUSTER_CALL_MS = POST_DEADLINE_MS - 500
/** A query of a range of keys may take this long. */
export const CLUSTER_RANGE_MS = 2 * CLUSTER_CALL_MS
/** Pause before Mailroom creates a new client after one failed to connect. */
export const CLUSTER_RETRY_MS = SECOND_MS
/** hazelcast-client tries to reconnect for this long; then Mailroom creates a new client. */
export const CLUSTER_GIVE_UP_MS = 20 * SECOND_MS
/** A client's connection to a member must be established within this time. */
export const MEMBER_CONNECT_MS = SECOND_MS
/** Pause before a client tries all members again; it grows by half with each try. */
export const MEMBER_RETRY_MIN_MS = 250
/** The longest such pause. */
export const MEMBER_RETRY_MAX_MS = 1500
/** How often a client sends each member a heartbeat. */
export const MEMBER_HEARTBEAT_MS = SECOND_MS
/** A member that has sent nothing for this long is disconnected. */
export const MEMBER_SILENCE_MS = 5 * MEMBER_HEARTBEAT_MS
/** Pause before a client repeats a call that a member refused for a moment. */
export const MEMBER_CALL_RETRY_MS = 200
/** A member reports its state within this time, so that a logging actor can pass it on within an attempt. */
export const MEMBER_REPORT_MS = APPEND_ATTEMPT_MS - 200
/** How often an open circuit breaker probes the cluster. */
export const CLUSTER_PROBE_MS = 500
/** How often each process checks the cluster's epoch: another one means that the cluster came back empty. */
export const EPOCH_CHECK_MS = 2 * SECOND_MS
/** How often a messages actor asks whether its lanes lack what journals have. */
export const REFILL_CHECK_MS = SECOND_MS
/** A journal that was seen before and is not there now is waited for so long before lanes are refilled without it. */
export const REFILL_WAIT_MS = 2 * MINUTE_MS
/** How often what is known of the clusters is stored in `--data`, and reported to the other actors. */
export const KNOWN_PERIOD_MS = 10 * SECOND_MS
/** How often each process checks how much the cluster's members hold. They measure it once a second. */
export const BOUND_CHECK_MS = SECOND_MS
/** The cluster ends a lease after this time, unless it was renewed. */
export const LEASE_MS = 5 * SECOND_MS
/** For its holder a lease ends this much earlier, as the cluster counts times to live in whole seconds. */
export const LEASE_MARGIN_MS = SECOND_MS
/** How often a holder renews its leases. */
export const LEASE_RENEW_MS = 1500
/** How long a cluster counts as new: as long as a holder may trust a lease of the cluster before it. */
export const NEW_CLUSTER_MS = LEASE_MS
/** A holder scans `pending` by a timer this often, and with each measurement of its backlog (`BACKLOG_PERIOD_MS`). */
export const SCAN_MS = 2 * SECOND_MS
/** A batch of this age in `pending` got no wake-up: its POST has ended, and the wake-up had 2 s to arrive. */
export const OVERDUE_MS = POST_DEADLINE_MS + 2 * SECOND_MS
/** After this time the first request with a key has ended: its deadline, and the longest call after it. */
export const FIRST_RUN_MS = 2 * POST_DEADLINE_MS
/** A message younger than this is not redriven: its POST may still be under way. */
export const REDRIVE_AGE_MS = FIRST_RUN_MS + 4 * SECOND_MS
/** One poll of a lane's wake-up queue waits this long. */
export const WAKE_POLL_MS = 500

// ── Command line ────────────────────────────────────────────────────────────────────────────────────────────

/** A client command connects within this time. */
export const CLI_CONNECT_MS = 3 * SECOND_MS
/** A client command gives up after this much silence; for scaling and restarting it waits without limit. */
export const CLI_SILENCE_MS = 10 * SECOND_MS
/** `mailroom tail` shows what became of a message after its `logged`, for which it waits this long. */
export const TAIL_HOLD_MS = SECOND_MS
/** `mailroom tail` connects again after this much silence: two comments and more have not come. */
export const CLI_EVENTS_SILENCE_MS = 2 * EVENTS_COMMENT_MS + CLI_SILENCE_MS
/** Pause before a client command tries a call again; it doubles with each try. */
export const CLI_RETRY_MIN_MS = 200
/** The longest such pause. */
export const CLI_RETRY_MAX_MS = 5 * SECOND_MS
/** How often `status --watch` asks the node. */
export const WATCH_MS = SECOND_MS
/** How often the progress bar is drawn at most. */
export const REDRAW_MS = 100
