/** What the demo school teaches: written for this project. */

export interface DemoLesson {
  title: string;
  module: string;
  kind: 'text' | 'file';
  body?: string;
  file?: 'picture' | 'handout';
}

export interface DemoCourse {
  key: string;
  title: string;
  summary: string;
  lessons: DemoLesson[];
}

export const COURSES: DemoCourse[] = [
  {
    key: 'sky',
    title: 'The night sky with your own eyes',
    summary: 'Six evenings without a telescope: what moves up there, why, and how to find your way by it.',
    lessons: [
      {
        title: 'Getting used to the dark',
        module: 'First evenings',
        kind: 'text',
        body: `# Getting used to the dark

Your eyes need about **twenty minutes** before they see faint stars. A single look at a phone starts the clock again,
so use a red light for your notes.

1. Find a place where no lamp shines straight at you.
2. Look up for a while without looking *for* anything.
3. Count the stars inside the square of Pegasus. More than five means a good sky.

> Write down the time, the place and your count. We compare them in the course room.`,
      },
      {
        title: 'The sky turns',
        module: 'First evenings',
        kind: 'text',
        body: `# The sky turns

Pick a bright star beside a chimney and come back an hour later: it has moved by fifteen degrees, about the width
of a spread hand at arm's length. It is we who turn, once in 23 hours and 56 minutes.

**Exercise.** Two photographs of the same stars, half an hour apart, from the same spot. By how many degrees did the
picture turn, and around which point?`,
      },
      { title: 'A sky to practise on', module: 'First evenings', kind: 'file', file: 'picture' },
      { title: 'Hand-out: finding north', module: 'Finding your way', kind: 'file', file: 'handout' },
    ],
  },
  {
    key: 'bread',
    title: 'Bread, and the science in it',
    summary:
      'Flour, water, salt and patience. We bake four loaves and learn what happens inside each of them.',
    lessons: [
      {
        title: 'Four ingredients',
        module: 'The first loaf',
        kind: 'text',
        body: `# Four ingredients

| ingredient | for one loaf | in baker's percent |
|---|---|---|
| flour | 500 g | 100 % |
| water | 350 g | 70 % |
| salt | 10 g | 2 % |
| yeast | 2 g | 0.4 % |

Baker's percent counts everything against the flour. Once you think in it, any recipe grows or shrinks with ease.`,
      },
      {
        title: 'Why dough rises',
        module: 'The first loaf',
        kind: 'text',
        body: `# Why dough rises

Yeast eats sugar and gives off carbon dioxide. Gluten, the net that forms when flour meets water, holds the gas.
Warm dough is quick and plain; cold dough is slow and full of taste.

Try it: half of the dough on the table, half in the fridge until tomorrow. Bake both. **Which one smells better?**`,
      },
    ],
  },
];

export const HANDOUT = {
  title: 'Finding north without a compass',
  lines: [
    '1. Find the Plough: seven bright stars in the shape of a saucepan.',
    '2. Take the two stars at the end of the pan, away from the handle.',
    '3. Follow the line through them, upwards, for five times their distance.',
    '4. The star you meet is Polaris. Straight below it, on the horizon, is north.',
    '',
    'The height of Polaris above the horizon, in degrees, is your latitude.',
  ],
};

/** Who says what in the room of the first course; `@teacher` becomes a mention. */
export const TALK: { who: 'teacher' | 'learner' | 'mira' | 'jonas'; says: string }[] = [
  { who: 'teacher', says: 'Welcome, everybody! Tell us where you are and what you can see from there.' },
  { who: 'learner', says: 'Hello from a balcony in the city. Eleven stars on a good night.' },
  { who: 'mira', says: 'A farm, very dark. The Milky Way all the way down to the barn 🌌' },
  { who: 'jonas', says: 'I counted seven inside Pegasus, twice. Is that the whole square?' },
  { who: 'teacher', says: 'Yes, the whole square. Seven is a fine sky, Jonas.' },
  { who: 'learner', says: '@teacher does a street lamp behind me matter if I do not look at it?' },
  {
    who: 'teacher',
    says: 'It lights the air in front of you, so a little. Put your hood up, it helps more than you think.',
  },
  { who: 'mira', says: 'Clear tonight. Shall we all count at ten and compare?' },
];
