import { startEmbedded } from '../support/platform.ts';
import { chatFeatures } from './chat-features.ts';

chatFeatures('in one process', startEmbedded);
