import type { Context } from '../../shared/http/context.ts';
import type { AnalyticsTables } from './store/tables.ts';

export type AnalyticsContext = Context<AnalyticsTables>;
