import { by, type Curve, chat, perSecond, quantile, REQUESTS, type Row } from './graphs.ts';

const sends = `${chat}, method="SOCKET", route="message:send"`;

/** Chat: messages, sockets, and what stands behind them. */
export const CHAT: Row[] = [
  [
    'Messages',
    [
      {
        title: 'Sent',
        help: 'Over sockets: stored and acknowledged.',
        unit: 'ops',
        curves: [[by('instance', perSecond(`${REQUESTS}_count`, `${sends}, status="ok"`)), '{{instance}}']],
      },
      {
        title: 'Refused',
        help: 'By reason, as the sender is told it.',
        unit: 'ops',
        curves: [[by('status', perSecond(`${REQUESTS}_count`, `${sends}, status!="ok"`)), '{{status}}']],
      },
      {
        title: 'Time to acknowledgement',
        help: 'In chat. The alert is at a p99 of 0.5 s.',
        unit: 's',
        curves: [0.5, 0.95, 0.99].map((q): Curve => [quantile(q, REQUESTS, sends, ''), `p${q * 100}`]),
      },
      {
        title: 'Delivered',
        help: 'Live messages and changes, one for each socket that gets it.',
        unit: 'ops',
        curves: [[by('instance', perSecond('lyceum_chat_deliveries_total', chat)), '{{instance}}']],
      },
      {
        title: 'Messages in a transaction',
        help: 'Sends that come together are stored together.',
        unit: 'short',
        curves: [
          [
            `sum(${perSecond('lyceum_chat_batch_messages_sum', chat)}) / sum(${perSecond('lyceum_chat_batch_messages_count', chat)})`,
            'mean',
          ],
          [quantile(0.95, 'lyceum_chat_batch_messages', chat, ''), 'p95'],
        ],
      },
      {
        title: 'Transactions',
        help: 'In which messages are stored.',
        unit: 'ops',
        curves: [[by('instance', perSecond('lyceum_chat_batch_messages_count', chat)), '{{instance}}']],
      },
      {
        title: 'Gaps',
        help: 'Messages read from the database because nobody told this process, and changes that never came.',
        unit: 'ops',
        curves: [
          [by('instance', perSecond('lyceum_chat_recovered_messages_total', chat)), '{{instance}} messages'],
          [by('instance', perSecond('lyceum_chat_lost_changes_total', chat)), '{{instance}} changes'],
        ],
      },
      {
        title: 'Beats',
        help: 'Times a room that has moved was told its last numbers.',
        unit: 'ops',
        curves: [[by('instance', perSecond('lyceum_chat_beats_total', chat)), '{{instance}}']],
      },
    ],
  ],
  [
    'Sockets',
    [
      {
        title: 'Connections',
        help: 'By namespace: a client may have one in each.',
        unit: 'short',
        curves: [
          [by('instance, namespace', `lyceum_chat_connections{${chat}}`), '{{instance}} {{namespace}}'],
        ],
      },
      {
        title: 'Ended',
        help: 'By reason; slow consumer: cut off because it did not read.',
        unit: 'ops',
        curves: [[by('reason', perSecond('lyceum_chat_connections_closed_total', chat)), '{{reason}}']],
      },
      {
        title: 'Events that clients send',
        help: 'By name.',
        unit: 'ops',
        curves: [[by('route', perSecond(`${REQUESTS}_count`, `${chat}, method="SOCKET"`)), '{{route}}']],
      },
      {
        title: 'Events that failed',
        help: 'Share that was not acknowledged with ok, by name.',
        unit: 'percentunit',
        curves: [
          [
            `sum by (route) (${perSecond(`${REQUESTS}_count`, `${chat}, method="SOCKET", status!="ok"`)}) / sum by (route) (${perSecond(`${REQUESTS}_count`, `${chat}, method="SOCKET"`)})`,
            '{{route}}',
          ],
        ],
      },
    ],
  ],
  [
    'What stands behind',
    [
      {
        title: 'HTTP, p95',
        help: 'The slowest routes.',
        unit: 's',
        curves: [[`topk(8, ${quantile(0.95, REQUESTS, `${chat}, method!="SOCKET"`, 'route')})`, '{{route}}']],
      },
      {
        title: 'Waiting in the outbox',
        help: 'Near zero, unless the broker is away.',
        unit: 'short',
        curves: [[`max(lyceum_outbox_pending{${chat}})`, 'events']],
      },
      {
        title: 'Event-loop lag',
        help: 'How late a timer fires. The alert is at 0.1 s over five minutes.',
        unit: 's',
        curves: [[`lyceum_event_loop_lag_seconds{${chat}}`, '{{instance}}']],
      },
      {
        title: 'Memory',
        help: 'Resident.',
        unit: 'bytes',
        curves: [[`process_resident_memory_bytes{${chat}}`, '{{instance}}']],
      },
    ],
  ],
];
