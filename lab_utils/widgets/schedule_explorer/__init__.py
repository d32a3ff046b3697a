"""ScheduleExplorer: pipeline schedules by sliders, by hand and by search."""
