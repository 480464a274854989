/**
 * The faults of a simulated world. A fault waits until a post is in flight, so that it hits something, and reports
 * whether it did. Every fault ends by itself.
 */
import { OVERDUE_MS, SCAN_MS } from '../../src/runtime/timings.ts'
import type { Clients } from './clients.ts'
import type { EmbeddedModel } from './embedded-backend.ts'
import type { HazelcastModel } from './hazelcast-backend.ts'
import type { Network } from './network.ts'
import type { SimNode } from './node.ts'
import type { Handling } from './poison.ts'
import type { SimProcess } from './process.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'
import { MEMBER_START_MS, type SimCluster } from './sim-cluster.ts'

/** Faults of any world. */
export const COMMON_KINDS = [
  'a process dies at a call',
  'a process dies at any moment',
  'a process freezes',
  'a node dies',
  'requests are lost',
  'replies are lost',
  'the network is slow',
  'the wall clock steps',
  'messages actors are scaled',
  'logging actors are scaled',
  'a role is restarted',
  'the target is away',
  'delivery is paused',
] as const

/** Faults of the embedded backend's disk. */
export const DISK_KINDS = ['the power fails', 'the disk is full', 'fdatasync fails'] as const

/** Faults of the Hazelcast backend's clusters. */
export const CLUSTER_KINDS = [
  'a cluster is away',
  'a cluster comes back empty',
  'all restart with a cluster',
  'a member dies',
  'a member freezes',
  'calls to a cluster are lost',
  'copies stay out',
  'calls to a cluster straggle',
] as const

/** Faults that lose what was acknowledged. */
export const LOSING_KINDS: readonly string[] = ['a cluster comes back empty', 'all restart with a cluster']

export type FaultKind = (typeof COMMON_KINDS | typeof DISK_KINDS | typeof CLUSTER_KINDS)[number]

/** What is promised after a noticed death: all deaths on one machine are. */
export const NOTICED_MS = 2000
/** On Hazelcast, after a lost wake-up: the batch is overdue, the next scan finds it, and it is delivered within 1 s. */
export const SILENT_MS = OVERDUE_MS + SCAN_MS + 1000

/** A messages actor that was not told of a pause, as it was just starting or could not be reached, knows it so much later. */
const PAUSE_KNOWN_MS = 2500
/** After an outage of what handlers need, all that waits is delivered within this time. */
const BACK_MS = 30_000

/** Where there are others, a node is away so many times as long: they are to notice. */
const SILENCE = 6

/** One fault. JSON: failing runs are kept as such. */
export interface Fault {
  kind: FaultKind
  /** When it comes, in ms since the clients began; it waits for the next post then. */
  atMs: number
  forMs: number
  /** Chooses whom it hits. */
  which: number
  /** 0 to 1 */
  strength: number
}

/** What faults happen to. */
export interface Faulty {
  scheduler: Scheduler
  rng: Rng
  network: Network
  nodes: readonly SimNode[]
  clients: Clients
  handling: Handling
  embedded: EmbeddedModel | undefined
  hazelcast: HazelcastModel | undefined
  /** Nothing is to go wrong any more. */
  calm: boolean
  /** When that will be so. */
  calmAt: number
  /** When something went wrong: times without faults are judged. */
  disturbances: Disturbance[]
}

/** Something is wrong meanwhile, in virtual time; so long after it (ms), all that waits is delivered. */
export interface Disturbance {
  from: number
  until: number
  recoveryMs: number
}

/** Something is wrong for so long, or was so for a moment. */
function disturb(world: Faulty, forMs = 0, recoveryMs = recoveryOf(world)): Disturbance {
  const { now } = world.scheduler
  const disturbance = { from: now, until: now + forMs, recoveryMs }
  world.disturbances.push(disturbance)
  return disturbance
}

/** A worker's death is noticed. With a facade on Hazelcast, wake-ups die that nobody misses at once. */
function death(world: Faulty, process: SimProcess): void {
  disturb(world, 0, process.name.startsWith('facade') ? recoveryOf(world) : NOTICED_MS)
  // What a queue gives to the dead is found when it is old.
  if (world.hazelcast) world.hazelcast.queue.queues.onSwallowed = () => void disturb(world)
}

function recoveryOf({ hazelcast }: Faulty): number {
  return hazelcast === undefined ? NOTICED_MS : SILENT_MS
}

/** A fault that has an end: then `end` happens, or it is calm before. What it delayed comes so much later. */
function lift(
  world: Faulty,
  afterMs: number,
  end: () => void,
  { delayMs = 0, recoveryMs = recoveryOf(world) } = {},
): void {
  disturb(world, Math.min(afterMs, world.calmAt - world.scheduler.now) + delayMs, recoveryMs)
  world.scheduler.after(afterMs, end)
}

/** An operation is no fault, but lanes move, and actors come and go. */
function operation(world: Faulty, done: Promise<unknown>, recoveryMs = recoveryOf(world)): void {
  const disturbance = disturb(world, Number.POSITIVE_INFINITY, recoveryMs)
  void done.then(() => {
    disturbance.until = world.scheduler.now
  })
}

/** How a fault happens: returns a function that says, when it is over, whether it hit something. */
type Effect = (world: Faulty, fault: Fault) => () => boolean

const EFFECTS: Record<FaultKind, Effect> = {
  'a process dies at a call': (world, { which, strength }) => {
    const process = processOf(world, which)
    process?.dieAtCall(1 + Math.floor(strength * 12), which % 2 === 0)
    process?.onDeath(() => death(world, process))
    return () => process !== undefined && !process.alive
  },
  'a process dies at any moment': (world, { which }) =>
    whenBusy(world, processOf(world, which), (process) => {
      process.die()
      death(world, process)
    }),
  'a process freezes': (world, { which, forMs }) =>
    whenBusy(world, processOf(world, which), (process) => {
      process.freeze()
      const disturbance = disturb(world, forMs * 3)
      process.onDeath(() => {
        // Noticed, and killed.
        disturbance.until = Math.min(disturbance.until, world.scheduler.now)
      })
      world.scheduler.after(forMs * 3, () => process.thaw())
    }),
  'a node dies': (world, fault) => nodeDies(world, fault),
  'requests are lost': (world, { strength, forMs }) => {
    const { network } = world
    const before = network.lostCount
    network.weather = { ...network.weather, lossOfRequest: 0.05 + strength * 0.5 }
    lift(world, forMs, () => network.calm())
    return () => network.lostCount > before
  },
  'replies are lost': (world, { strength, forMs }) => {
    const { network } = world
    const before = network.lostCount
    network.weather = { ...network.weather, lossOfReply: 0.05 + strength * 0.5 }
    lift(world, forMs, () => network.calm())
    return () => network.lostCount > before
  },
  'the network is slow': (world, { strength, forMs }) => {
    const { network, clients } = world
    const hit = clients.posting > 0
    const delayMs = 20 + strength * 3000
    network.weather = { ...network.weather, delayMs }
    lift(world, forMs, () => network.calm(), { delayMs })
    return () => hit
  },
  'the wall clock steps': (world, { which, strength }) => {
    const { nodes, clients } = world
    disturb(world)
    nodes[which % nodes.length]!.machine.clockOffsetMs += (strength - 0.5) * 20_000
    const hit = clients.posting > 0
    return () => hit
  },
  'messages actors are scaled': (world, { which, strength }) => {
    operation(world, nodeOf(world, which).scale('messages', 1 + Math.floor(strength * 3)))
    const hit = world.clients.posting > 0
    return () => hit
  },
  'logging actors are scaled': (world, { which, strength }) => {
    operation(world, nodeOf(world, which).scale('logging', 1 + Math.floor(strength * 3)))
    const hit = world.clients.posting > 0
    return () => hit
  },
  'a role is restarted': (world, { which, strength }) => {
    const roles = ['facade', 'logging', 'messages'] as const
    operation(world, nodeOf(world, which).restart(roles[Math.floor(strength * 3) % 3]!))
    const hit = world.clients.posting > 0
    return () => hit
  },
  'the target is away': (world, { forMs }) => {
    const { handling } = world
    const before = handling.knocks
    handling.awaySince = world.scheduler.now
    const end = () => {
      handling.awaySince = undefined
    }
    lift(world, forMs, end, { recoveryMs: BACK_MS })
    return () => handling.knocks > before
  },
  'delivery is paused': (world, { forMs }) => {
    const { clients, handling, scheduler } = world
    let isPaused = false
    const pause = async () => {
      await clients.setPaused(true)
      isPaused = true
      handling.pausedFrom = scheduler.now + PAUSE_KNOWN_MS
      await clients.pause({ min: PAUSE_KNOWN_MS, max: PAUSE_KNOWN_MS + forMs })
      handling.pausedFrom = undefined
      await clients.setPaused(false)
    }
    // One pause after another: else the end of one would be the end of the other.
    handling.pausing = handling.pausing.then(pause)
    operation(world, handling.pausing, BACK_MS)
    return () => isPaused
  },
  'the power fails': (world, fault) => {
    const over = nodeDies(world, fault)
    world.embedded?.disk.losePower()
    for (const { machine } of world.nodes) machine.boot++
    return over
  },
  'the disk is full': (world, { forMs }) => {
    const disk = world.embedded!.disk
    const before = disk.refusedCount
    disk.full = true
    lift(world, forMs, () => {
      disk.full = false
    })
    return () => disk.refusedCount > before
  },
  'fdatasync fails': (world, { strength }) => {
    const disk = world.embedded!.disk
    disk.onFailedSync = () => void disturb(world)
    disk.failingSyncs += 1 + Math.floor(strength * 2)
    return () => disk.failingSyncs === 0
  },
  'a cluster is away': (world, { which, forMs }) => {
    const cluster = clusterOf(world, which)
    const hit = cluster.inFlight > 0
    cluster.goAway()
    lift(world, forMs, () => cluster.comeBack())
    return () => hit
  },
  'a cluster comes back empty': (world, { which, forMs }) => {
    return clustersRestart(world, [clusterOf(world, which)], forMs, () => {})
  },
  'all restart with a cluster': (world, { which, forMs }) => {
    const { log, queue } = world.hazelcast!
    const hit = [log, queue].some(({ inFlight }) => inFlight > 0)
    for (const node of world.nodes) node.crash()
    clustersRestart(world, [[log], [queue], [log, queue]][which % 3]!, forMs, () => {
      for (const node of world.nodes) node.start()
      disturb(world)
    })
    return () => hit
  },
  'a member dies': (world, { which }) => {
    const cluster = clusterOf(world, which)
    const hit = cluster.inFlight > 0
    cluster.loseMember((which >> 1) % 3)
    disturb(world)
    return () => hit
  },
  'a member freezes': (world, { which, forMs }) => {
    excuseStarts(world)
    const cluster = clusterOf(world, which)
    const hit = cluster.inFlight > 0
    cluster.freezeMember((which >> 1) % 3, forMs * 2)
    disturb(world, forMs * 2)
    return () => hit
  },
  'calls to a cluster are lost': (world, fault) => {
    const { strength } = fault
    const lossOfRequest = strength * 0.2
    return clusterWeather(world, fault, { lossOfRequest, lossOfReply: 0.02 + strength * 0.3 })
  },
  'copies stay out': (world, fault) => {
    const { which, forMs, strength } = fault
    const cluster = clusterOf(world, which)
    // What only a primary had goes with it.
    if (which % 3 === 0) world.scheduler.after(forMs, () => cluster.loseMember((which >> 1) % 3))
    return clusterWeather(world, fault, { lossOfCopy: 0.05 + strength * 0.4 })
  },
  'calls to a cluster straggle': (world, fault) => {
    const cluster = clusterOf(world, fault.which)
    const hit = cluster.inFlight > 0
    clusterWeather(world, fault, { straggleMs: 200 + fault.strength * 6000 })
    return () => hit
  },
}

/** Brings a fault about in time. @returns Says, at the end, whether it hit something in flight. */
export function schedule(world: Faulty, fault: Fault): () => boolean {
  const { scheduler, clients, rng } = world
  let over = () => false
  let begun = false
  const begin = () => {
    if (begun || world.calm) return
    begun = true
    scheduler.note(`fault: ${fault.kind}`)
    over = EFFECTS[fault.kind](world, fault)
  }
  scheduler.after(fault.atMs, () => {
    const before = clients.onPost
    clients.onPost = () => {
      before()
      if (!begun) scheduler.after(rng.between(0, 8), begin)
    }
    scheduler.after(1000, begin)
  })
  return () => over()
}

function nodeDies(world: Faulty, { which, forMs }: Fault): () => boolean {
  const node = nodeOf(world, which)
  const hit = node.processes().some(({ inFlight }) => inFlight > 0)
  node.crash()
  const downMs = world.nodes.length > 1 ? forMs * SILENCE : forMs
  // Others take over, or nobody does until it is back.
  disturb(world, world.nodes.some((each) => each.up) ? 0 : downMs)
  world.scheduler.after(downMs, () => {
    node.start()
    disturb(world)
  })
  return () => hit
}

/** All members of these clusters stop; when they are back, so is all that stopped with them. */
function clustersRestart(
  world: Faulty,
  clusters: readonly SimCluster[],
  forMs: number,
  back: () => void,
): () => boolean {
  const hit = clusters.some(({ inFlight }) => inFlight > 0)
  for (const cluster of clusters) world.hazelcast!.empty(cluster)
  const awayMs = Math.max(MEMBER_START_MS, Math.min(forMs, world.calmAt - world.scheduler.now))
  disturb(world, awayMs)
  world.scheduler.after(awayMs, () => {
    for (const cluster of clusters) cluster.comeBack()
    back()
  })
  return () => hit
}

/** A start that seemed to have failed may be written after all, and be taken up as one that was left open. */
function excuseStarts(world: Faulty): void {
  world.handling.adopted = true
}

function clusterWeather(
  world: Faulty,
  { which, forMs }: Fault,
  change: Partial<SimCluster['weather']>,
): () => boolean {
  excuseStarts(world)
  const cluster = clusterOf(world, which)
  const before = cluster.lostCount
  cluster.weather = { ...cluster.weather, ...change }
  lift(world, forMs, () => cluster.clear(), { delayMs: change.straggleMs ?? 0 })
  return () => cluster.lostCount > before
}

function nodeOf({ nodes }: Faulty, which: number): SimNode {
  return nodes[which % nodes.length]!
}

/** Strikes a process when it does something, or a second later. */
function whenBusy(
  world: Faulty,
  process: SimProcess | undefined,
  strike: (process: SimProcess) => void,
): () => boolean {
  let hit = false
  let struck = process === undefined
  const now = () => {
    if (struck || world.calm) return
    struck = true
    hit = process!.alive && process!.inFlight > 0
    world.scheduler.note(`${process!.name} is struck`)
    strike(process!)
  }
  if (process === undefined) return () => false
  process.onLeave = () => {
    process.onLeave = () => {}
    world.scheduler.after(world.rng.between(0, 1), now)
  }
  world.scheduler.after(1000, now)
  return () => hit
}

/** One that runs; all roles alike. */
function processOf({ nodes }: Faulty, which: number): SimProcess | undefined {
  const processes = nodes.flatMap((node) => node.processes())
  return processes.length === 0 ? undefined : processes[which % processes.length]
}

function clusterOf({ hazelcast }: Faulty, which: number): SimCluster {
  return which % 2 === 0 ? hazelcast!.log : hazelcast!.queue
}
