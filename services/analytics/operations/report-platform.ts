import type { PlatformReport } from '../../../shared/contracts/analytics.ts';
import type { AnalyticsContext } from '../context.ts';
import { readPlatform } from '../store/platform-report.ts';

/** The whole installation in figures. The route lets administrators in only. */
export const reportPlatform = ({ db }: AnalyticsContext): Promise<PlatformReport> => readPlatform(db);
