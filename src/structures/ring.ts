/**
 * A ring of members that carry their own links: joining, leaving and turning cost the same for
 * ten members and for ten thousand. Used to hand messages to consumers in turn.
 */

/** What stands in a ring; both links are null while it stands in none. */
export interface RingMember<M> {
  next: M | null
  previous: M | null
}

export class Ring<M extends RingMember<M>> {
  /** Whose turn it is, or null when the ring is empty. */
  head: M | null = null

  /** Puts a member last in turn. */
  join(member: M): void {
    const head = this.head
    if (head === null) {
      member.next = member
      member.previous = member
      this.head = member
    } else {
      const last = head.previous as M
      member.previous = last
      member.next = head
      last.next = member
      head.previous = member
    }
  }

  /** Takes a member out; it must stand in this ring. */
  leave(member: M): void {
    const next = member.next as M
    if (next === member) {
      this.head = null
    } else {
      const previous = member.previous as M
      previous.next = next
      next.previous = previous
      if (this.head === member) this.head = next
    }
    member.next = null
    member.previous = null
  }

  /** The member whose turn it is goes to the end. */
  turn(): void {
    if (this.head !== null) this.head = this.head.next
  }
}
