import type { SlotState } from '../api/stats.ts'
import type { Handles, Leftover } from './handles.ts'
import { type Counts, move, newCounts, Slot } from './slot.ts'

/**
 * All slots of a pool: which exist, which are idle and since when, and which resource belongs to which slot.
 *
 * Invariants, checked after every step of the model test:
 * 1. The counts equal a recount of the slots.
 * 2. The idle list holds exactly the idle slots, longest idle first.
 * 3. A resource is known ⇔ its slot is connected and not closing.
 */
export class Slots<T> {
  /** Is called when a connection becomes idle while no other is idle. */
  onFirstIdle: () => void = () => {}
  /** Is called after each move but those of a loan: idle → lent → idle. `from` is undefined for a new connection. */
  onMove: (slot: Slot<T>, from: SlotState | undefined) => void = () => {}
  readonly counts: Counts = newCounts()
  readonly all = new Set<Slot<T>>()
  readonly #byResource = new Map<T, Slot<T>>()
  #longestIdle: Slot<T> | undefined
  #latestIdle: Slot<T> | undefined
  readonly #handles: Handles<T> | undefined
  #lastId = 0

  constructor(handles?: Handles<T>) {
    this.#handles = handles
  }

  /** Connections that the pool owns or is creating, not counting those being closed. */
  get size(): number {
    const { connecting, idle, validating, lent, resetting } = this.counts
    return connecting + idle + validating + lent + resetting
  }

  /** Permits in use: the number of sockets that are or may be open. */
  get permitsInUse(): number {
    return this.size + this.counts.closing
  }

  /** Connections that exist, and may serve a waiter now or soon. */
  get open(): number {
    return this.size - this.counts.connecting
  }

  add(generation: number, now: number): Slot<T> {
    this.#lastId += 1
    const slot = new Slot<T>(this.#lastId, generation, now)
    this.all.add(slot)
    this.counts.connecting += 1
    this.onMove(slot, undefined)
    return slot
  }

  /** Does each loan have a handle, through which an adapter sees every command? */
  get hasHandles(): boolean {
    return this.#handles !== undefined
  }

  /**
   * Records which slot a resource belongs to.
   * @returns false if it already belongs to a slot
   */
  register(slot: Slot<T>, resource: T): boolean {
    if (this.#byResource.has(resource)) return false
    this.#byResource.set(resource, slot)
    slot.resource = resource
    if (this.#handles === undefined) {
      slot.lent = resource
      slot.served = Promise.resolve(resource)
    }
    return true
  }

  /** Does this resource belong to a slot, in any state? */
  owns(resource: T): boolean {
    return this.#byResource.has(resource)
  }

  /** The slot whose resource, or handle of its current loan, this is. */
  slotOf(resource: T): Slot<T> | undefined {
    const owner = this.#handles?.ownerOf(resource) as Slot<T> | undefined
    if (owner === undefined) return this.#byResource.get(resource)
    // Not a handle of another pool, nor an object that inherits from a handle.
    return owner.lent === resource && this.#byResource.get(owner.resource as T) === owner ? owner : undefined
  }

  /** The slot with this resource or handle, if it is lent. */
  lentSlot(resource: T): Slot<T> | undefined {
    const slot = this.slotOf(resource)
    if (slot === undefined || slot.state !== 'lent') return undefined
    // A borrower must return the handle. It cannot return the connection behind it.
    return this.#handles === undefined || slot.lent === resource ? slot : undefined
  }

  /** Called when a loan begins: creates its handle, where loans have handles. */
  beginLoan(slot: Slot<T>): void {
    if (this.#handles === undefined) return
    slot.lent = this.#handles.lend(slot.resource as T, slot)
  }

  /**
   * Called when a loan ends: its handle refuses everything from now on.
   * @returns what the borrower left behind
   */
  endLoan(slot: Slot<T>): Leftover | undefined {
    if (this.#handles === undefined) return undefined
    // The slot keeps the handle: a borrower whose grant arrives only now must get a handle that refuses.
    const handle = slot.lent as T
    return this.#handles.ownerOf(handle) === slot ? this.#handles.unlend(handle) : undefined
  }

  /** Moves a slot to another state, and keeps the idle list and the known resources up to date. */
  move(slot: Slot<T>, to: SlotState): void {
    const from = slot.state
    // The pool itself ends the loan, for example in a forced close.
    if (from === 'lent' && to === 'closing') this.endLoan(slot)
    move(slot, to, this.counts)
    if (from === 'idle') this.#unlink(slot)
    if (to === 'lent') return
    if (to === 'idle') {
      this.#append(slot)
      if (from === 'lent') return
    } else if (to === 'closing') this.#byResource.delete(slot.resource as T)
    else if (to === 'closed') {
      this.all.delete(slot)
      this.counts.closed -= 1
    }
    this.onMove(slot, from)
  }

  /** The idle slot to lend next: the longest idle one (`fifo`) or the latest. */
  nextIdle(fifo: boolean): Slot<T> | undefined {
    return fifo ? this.#longestIdle : this.#latestIdle
  }

  /** The idle slots at this moment, longest idle first. */
  idleSlots(): Slot<T>[] {
    const found: Slot<T>[] = []
    for (let slot = this.#longestIdle; slot !== undefined; slot = slot.next) found.push(slot)
    return found
  }

  /** Inserts the slot by its idle age: usually at the end, but not if it was validated while it was idle. */
  #append(slot: Slot<T>): void {
    const isFirst = this.#latestIdle === undefined
    let before = this.#latestIdle
    while (before !== undefined && before.idleSince > slot.idleSince) before = before.previous
    const after = before === undefined ? this.#longestIdle : before.next
    slot.previous = before
    slot.next = after
    if (before === undefined) this.#longestIdle = slot
    else before.next = slot
    if (after === undefined) this.#latestIdle = slot
    else after.previous = slot
    if (isFirst) this.onFirstIdle()
  }

  #unlink(slot: Slot<T>): void {
    if (slot.previous === undefined) this.#longestIdle = slot.next
    else slot.previous.next = slot.next
    if (slot.next === undefined) this.#latestIdle = slot.previous
    else slot.next.previous = slot.previous
    slot.previous = undefined
    slot.next = undefined
  }
}
