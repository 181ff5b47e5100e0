import type { Role } from '../contracts/common.ts';
import { Problem, type ProblemCode } from '../errors.ts';
import type { Caller } from './tokens.ts';

/**
 * Who may call a route or socket event, and what each kind of caller gets: the rule that is enforced and the
 * row of the access matrix that `tests/security` walks, in one place.
 */
export const ACTORS = [
  'anonymous',
  'expired',
  'learnerNotEnrolled',
  'learnerEnrolled',
  'otherTeacher',
  'courseTeacher',
  'administrator',
] as const;
export type Actor = (typeof ACTORS)[number];

/** `ok`: not refused for who the caller is. Anything else: the problem code. */
export type Outcome = 'ok' | ProblemCode;

export interface Access {
  /** `none`: a token is not looked at. `optional`: checked when sent. `required`: no token, no entry. */
  token: 'none' | 'optional' | 'required';
  /** Roles that may enter; the operation may be narrower still. */
  roles?: readonly Role[];
  expect: Record<Actor, Outcome>;
}

const everyone = (outcome: Outcome): Record<Actor, Outcome> =>
  Object.fromEntries(ACTORS.map((actor) => [actor, outcome])) as Record<Actor, Outcome>;

/** No token needed and none looked at. */
export const anyone = (): Access => ({ token: 'none', expect: everyone('ok') });

/** A token is checked if sent; what the caller may see is up to the operation. */
export const anyoneOrCaller = (expect: Partial<Record<Actor, Outcome>> = {}): Access => ({
  token: 'optional',
  expect: { ...everyone('ok'), expired: 'token-expired', ...expect },
});

/** Any signed-in user; `expect` says where the operation refuses some of them. */
export const signedIn = (expect: Partial<Record<Actor, Outcome>> = {}): Access => ({
  token: 'required',
  expect: { ...everyone('ok'), anonymous: 'unauthenticated', expired: 'token-expired', ...expect },
});

/** Only these roles; the others get `forbidden`. */
export function onlyRoles(roles: readonly Role[], expect: Partial<Record<Actor, Outcome>> = {}): Access {
  const roleOf: Partial<Record<Actor, Role>> = {
    learnerNotEnrolled: 'learner',
    learnerEnrolled: 'learner',
    otherTeacher: 'teacher',
    courseTeacher: 'teacher',
    administrator: 'admin',
  };
  const refused = ACTORS.filter((actor) => roleOf[actor] && !roles.includes(roleOf[actor]));
  const access = signedIn({ ...Object.fromEntries(refused.map((actor) => [actor, 'forbidden'])), ...expect });
  return { ...access, roles };
}

/** Applies the part of the rule that needs no data. Throws `unauthenticated` or `forbidden`. */
export function enforce(access: Access, caller: Caller | undefined): void {
  if (access.token === 'required' && !caller) throw new Problem('unauthenticated');
  if (access.roles && (!caller || !access.roles.includes(caller.role))) throw new Problem('forbidden');
}
