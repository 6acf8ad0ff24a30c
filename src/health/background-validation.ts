import type { Slot } from '../connections/slot.ts'
import type { Validator } from './validator.ts'

/** Validations in the background at a time. */
const AT_A_TIME = 8

/** Has idle connections prove themselves in the background: in parallel, but few enough to leave the others to lend. */
export class BackgroundValidation<T> {
  readonly #validator: Validator<T>
  #queue = new Set<Slot<T>>()
  #running = 0

  constructor(validator: Validator<T>) {
    this.#validator = validator
  }

  validate(slots: readonly Slot<T>[]): void {
    for (const slot of slots) this.#queue.add(slot)
    this.#pump()
  }

  #pump(): void {
    for (const slot of this.#queue) {
      if (this.#running >= AT_A_TIME) return
      this.#queue.delete(slot)
      if (slot.state !== 'idle') continue
      this.#running += 1
      this.#validator.validate(slot).then(() => {
        this.#running -= 1
        this.#pump()
      })
    }
  }
}
