// Numbers as people read them: durations, ages, sizes, metric values, progress bars.

/** A duration in milliseconds: 0.4 s, 12 s, 3 min 05 s, 2 h 07 min, 3 d 4 h. */
export function duration(ms: number): string {
  if (ms < 0) return duration(0);
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** A duration in one unit, for narrow columns: 4s, 12m, 3h, 5d. */
export function shortDuration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** Between two times in RFC 3339; `now` (milliseconds since 1970) stands for an end that is not yet there. Empty without a start. */
export function elapsed(startedAt: string | null, finishedAt: string | null, now: number): string {
  return startedAt === null ? "" : duration((finishedAt === null ? now : Date.parse(finishedAt)) - Date.parse(startedAt));
}

/** Bytes: 512 B, 3.4 KiB, 1.2 GiB. */
export function bytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = count, unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return unit === 0 ? `${value} B` : `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

/** A metric's value in at most four digits; NaN and infinities by name. */
export function metricValue(value: number | null, nonFinite: string | null): string {
  if (value === null) return nonFinite ?? "NaN";
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size >= 1e6 || size < 1e-3) return value.toExponential(1).replace("e+", "e");
  if (Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(4)));
}

/** Step numbers and counts with thin thousands: 14,000. */
export function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** How far a stage of this kind is. Preprocess stages count bytes of work, of which only the share says something. */
export function progressInWords(kind: string, { step, totalSteps }: { readonly step: number; readonly totalSteps: number | null }): string {
  if (totalSteps === null) return `step ${count(step)}`;
  return kind === "PREPROCESS" ? `${Math.floor((100 * step) / totalSteps)} % done` : `step ${count(step)} of ${count(totalSteps)}`;
}

/** A bar of exactly `width` columns for a share between 0 and 1. */
export function progressBar(share: number, width: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  return "█".repeat(full) + "░".repeat(width - full);
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
