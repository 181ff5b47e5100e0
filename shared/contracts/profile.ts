import { z } from 'zod';
import { Id, line, PageQuery, page, prose, Role, Time } from './common.ts';

/** Requests and replies of `/api/profiles`. */

/** A language tag of BCP 47 (RFC 5646) in its canonical form: `de-at` becomes `de-AT`. */
export const Locale = z
  .string()
  .min(2)
  .max(35)
  .refine((tag) => canonicalLocale(tag) !== undefined, 'must be a language tag such as en or pt-BR')
  .overwrite((tag) => canonicalLocale(tag) ?? tag)
  .meta({ description: 'Language tag, BCP 47' });

/** A zone of the IANA time zone database, such as `Europe/Berlin`, or `UTC`. Fixed offsets are not zones. */
export const TimeZone = z
  .string()
  .max(64)
  .regex(/^[A-Za-z][A-Za-z0-9_+\-/]*$/, 'must be a zone such as Europe/Berlin')
  .refine(isTimeZone, 'must be a zone of the IANA time zone database')
  .meta({ description: 'IANA time zone' });

function canonicalLocale(tag: string): string | undefined {
  try {
    return Intl.getCanonicalLocales(tag)[0];
  } catch {
    return undefined;
  }
}

function isTimeZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}

/** http(s) only, and without a password in it: anything else is a trap for whoever clicks. */
const webAddress = z
  .string()
  .trim()
  .max(500)
  .refine((text) => {
    if (!URL.canParse(text)) return false;
    const { protocol, username, password } = new URL(text);
    return (protocol === 'https:' || protocol === 'http:') && username === '' && password === '';
  }, 'must be an http or https address')
  .overwrite((text) => (URL.canParse(text) ? new URL(text).href : text));

const NewProfileLink = z.strictObject({ label: line(60), url: webAddress });
export const ProfileLink = z.object({ label: z.string(), url: z.string() }).meta({ id: 'ProfileLink' });

export const PRIVACY_LEVELS = ['everyone', 'teachers', 'nobody'] as const;

/** What others see. The owner and administrators see everything always. */
export const Privacy = z
  .strictObject({
    profile: z.enum(PRIVACY_LEVELS).meta({ description: 'Which signed-in users can open the profile' }),
    showBio: z.boolean(),
    showLinks: z.boolean(),
    showTimeZone: z.boolean(),
    findable: z.boolean().meta({ description: 'Whether the search by name shows it' }),
    showPresence: z
      .boolean()
      .meta({ description: 'Whether others in the chat see that one is online, and typing' }),
  })
  .meta({ id: 'Privacy' });
export type Privacy = z.infer<typeof Privacy>;

export const DEFAULT_PRIVACY: Privacy = {
  profile: 'everyone',
  showBio: true,
  showLinks: true,
  showTimeZone: true,
  findable: true,
  showPresence: true,
};

export const AVATAR_SIZES = ['small', 'medium', 'large'] as const;
export type AvatarSize = (typeof AVATAR_SIZES)[number];

export const Avatar = z
  .object({ small: z.url(), medium: z.url(), large: z.url() })
  .meta({ id: 'Avatar', description: 'Addresses of square WebP images of 64, 256 and 512 pixels' });

/** One's own profile, with everything in it. */
export const OwnProfile = z
  .object({
    userId: Id,
    displayName: z.string(),
    role: Role,
    bio: z.string(),
    locale: z.string(),
    timeZone: z.string(),
    links: z.array(ProfileLink),
    privacy: Privacy,
    avatar: Avatar.nullable(),
    createdAt: Time,
    updatedAt: Time,
  })
  .meta({ id: 'OwnProfile' });
export type OwnProfile = z.infer<typeof OwnProfile>;

/** Somebody's profile as far as their privacy shows it: what is hidden is null, hidden links are an empty list. */
export const PublicProfile = z
  .object({
    userId: Id,
    displayName: z.string(),
    role: Role,
    avatar: Avatar.nullable(),
    bio: z.string().nullable(),
    links: z.array(ProfileLink),
    timeZone: z.string().nullable(),
  })
  .meta({ id: 'PublicProfile' });
export type PublicProfile = z.infer<typeof PublicProfile>;

/** A change of one's own profile; what is left out stays. */
export const ProfileChange = z
  .strictObject({
    displayName: line(80).optional(),
    bio: prose(2000).optional(),
    locale: Locale.optional(),
    timeZone: TimeZone.optional(),
    links: z.array(NewProfileLink).max(10).optional(),
    privacy: Privacy.partial().optional(),
  })
  .meta({
    examples: [
      {
        displayName: 'Ada Lovelace',
        bio: 'Numbers, and what can be done with them.',
        timeZone: 'Europe/London',
        links: [{ label: 'Notes', url: 'https://example.org/notes' }],
        privacy: { showTimeZone: false },
      },
    ],
  });
export type ProfileChange = z.infer<typeof ProfileChange>;

/** How the web app looks and behaves for this user, on every device. The server keeps it and does not act on it. */
export const Preferences = z
  .strictObject({
    theme: z.enum(['system', 'light', 'dark']),
    language: Locale.nullable().meta({ description: 'Of the interface; null follows the browser' }),
    textSize: z.enum(['small', 'normal', 'large']),
    reducedMotion: z.boolean(),
    enterSends: z.boolean().meta({ description: 'Enter sends a chat message; otherwise Ctrl+Enter does' }),
  })
  .meta({ id: 'Preferences' });
export type Preferences = z.infer<typeof Preferences>;

export const DEFAULT_PREFERENCES: Preferences = {
  theme: 'system',
  language: null,
  textSize: 'normal',
  reducedMotion: false,
  enterSends: true,
};

export const PreferencesChange = z
  .strictObject(Preferences.partial().shape)
  .meta({ examples: [{ theme: 'dark', language: 'de' }] });
export type PreferencesChange = z.infer<typeof PreferencesChange>;

export const AvatarReply = z.object({ avatar: Avatar });

export const ProfileSearch = PageQuery.extend({
  q: line(100).meta({ description: 'Part of a display name; case and accents do not matter' }),
});
export const ProfilePage = page(PublicProfile);

/** The largest picture that can become an avatar, in bytes (5 MiB). */
export const AVATAR_LIMIT = 5 * 1024 * 1024;
