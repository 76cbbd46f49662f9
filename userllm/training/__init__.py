"""Training any module step by step so that an interrupted run ends as an uninterrupted one."""
